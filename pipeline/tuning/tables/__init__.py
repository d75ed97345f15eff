"""A search on the terminal."""
