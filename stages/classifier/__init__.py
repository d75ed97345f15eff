"""A model that was fine-tuned for a task, made smaller: checked, fetched, shrunk beside its labels, and published."""
