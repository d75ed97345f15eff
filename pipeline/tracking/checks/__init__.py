"""Whether a run can be recorded, asked of MLflow before anything expensive: its store, its database, its files."""
