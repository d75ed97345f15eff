"""A search in MLflow, and which one a RUN means."""
