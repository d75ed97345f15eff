"""A search of more trials goes on from a finished one of fewer, where nothing else about it is another."""
