"""Checkpoints that are whole or do not exist, and the thread that writes them."""
