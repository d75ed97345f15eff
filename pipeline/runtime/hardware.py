"""The machine in one line, for runs and tables: a figure of speed says nothing without it."""

import os
import platform
from collections import Counter
from pathlib import Path


def hardware() -> str:
    """Such as "2 × Intel(R) Xeon(R) @ 2.60GHz, 23 GiB" or "..., 1 × NVIDIA H100 80GB"; of this machine alone.

    Counts the cores and the memory that this process may use, which in a container are fewer than there are.
    """
    parts = [f"{_cores()} × {_processor()}", f"{_memory() / 2**30:.0f} GiB"]
    return ", ".join(parts + [f"{count} × {name}" for name, count in _gpus().items()])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The processor's name as Linux knows it, or the architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _memory() -> int:
    """Bytes of memory: the machine's, or the container's limit where that is lower."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="utf-8").strip() if limit.exists() else ""
    return min(whole, int(text)) if text.isdecimal() else whole


def _gpus() -> Counter[str]:
    """How many of each GPU."""
    import torch

    return Counter(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
