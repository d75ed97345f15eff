"""`distil doctor`: what would go wrong in a run on a cluster, or on this machine, asked before one is started."""
