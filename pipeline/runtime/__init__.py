"""Around a run: the Ray cluster, signals, locks, memory, and what it ran on."""
