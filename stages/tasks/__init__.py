"""Labelled tasks: what one is and how it is named, how its rows are read, and what predictions for them are worth."""
