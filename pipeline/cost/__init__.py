"""What a run or a search would cost: operations by counting, hours by the speed recorded for a card or a processor."""
