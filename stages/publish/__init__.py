"""A folder that transformers loads, with a model card."""
