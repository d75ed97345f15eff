"""The teacher: fetched, adapted to the corpus, or pre-trained; the demo's lies here too."""
