"""What `gpu.py` asks a card, a file a question: `run(sizes, device, note)` tells `note` its figures as it has them."""
