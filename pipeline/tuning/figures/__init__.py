"""A search in pictures."""
