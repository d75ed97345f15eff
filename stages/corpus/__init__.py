"""Text to documents: the stage, its config, what is checked beforehand, and the readers of files."""
