"""The machine in one line, for runs and tables: a figure of speed says nothing without it."""

import os
from collections import Counter

from stages.machine import memory, processor


def hardware() -> str:
    """Such as "2 × Intel(R) Xeon(R) @ 2.60GHz, 23 GiB" or "..., 1 × NVIDIA H100 80GB"; of this machine alone.

    Counts the cores and the memory that this process may use, which in a container are fewer than there are.
    """
    parts = [f"{_cores()} × {processor()}", f"{memory() / 2**30:.0f} GiB"]
    return ", ".join(parts + [f"{count} × {name}" for name, count in _gpus().items()])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> Counter[str]:
    """How many of each GPU."""
    import torch

    return Counter(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
