"""What is known of a run whose workdir is not on this machine: by MLflow, and by the storage."""
