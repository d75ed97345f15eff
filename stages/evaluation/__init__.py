"""The student beside its teacher on held-out text: scores, and how sure a difference is."""
