"""Labelled tasks around their stage: their runs in MLflow, and their part of the gate."""
