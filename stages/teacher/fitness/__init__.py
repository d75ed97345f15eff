"""Whether a model can be a teacher: by its files, its weights, and what it says of real text."""
