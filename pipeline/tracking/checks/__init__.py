"""Whether a run can be recorded, asked of MLflow itself before anything expensive: the store, its database, its files."""
