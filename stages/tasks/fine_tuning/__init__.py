"""A model with a new head learns one labelled task, on one device: plain functions of tensors, without Ray."""
