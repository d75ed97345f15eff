"""MLflow: a run's start and end, its metrics while the server is away, its model and the gate."""
