"""Labelled tasks around their stage: its part of the graph, their runs in MLflow, and their part of the gate."""
