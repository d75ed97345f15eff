"""The arithmetic of the metrics: what is counted once for each example, and what a resample makes of the counts."""
