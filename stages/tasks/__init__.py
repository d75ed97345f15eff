"""Labelled tasks: teacher and student fine-tuned by the same rules, and what of each task's score was kept."""
