"""The triple loss and its gradients in closed form: the formulas, and code of its own for CPUs and for GPUs."""
