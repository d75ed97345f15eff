"""How many rows of a micro-batch fit: found by trying, once, when a training starts.

The gradients are the same whatever the size, so only memory and speed are asked. On a GPU larger ones are faster for
long: sizes double while a step stays within a share of the memory. On a CPU a step of a few thousand tokens is as fast
as any: sizes double up to that many, while a step stays within a share of what is free. No Ray here.
"""

import os
from collections.abc import Callable
from pathlib import Path

import torch

SHARE = {"cuda": 0.85, "cpu": 0.5}
"""Of the memory, what a step may take: a GPU's is the training's alone, a CPU's other processes want some of."""
CPU_TOKENS = 4096
"""Tokens of a micro-batch beyond which a CPU gets hardly faster."""


def fitting(
    trial: Callable[[int], None],
    *,
    most: int,
    block_length: int,
    device: torch.device,
    available: int = 0,
    reserved: int = 0,
    part: float = 1.0,
) -> int:
    """The largest of 1, 2, 4, … and `most` rows with which `trial`, a step's forward and backward pass, fits.

    `available`: bytes of the machine's memory that are free, which a CPU's training shares; a GPU is asked itself.
    `reserved`: bytes that training will need beside it and that are not taken yet (the optimiser's state). `part`: of
    the device's memory that is this process's. 1 where not even one row fits: then training will say so itself.
    """
    if device.type == "cuda":
        return _doubled(lambda rows: _fits_gpu(trial, rows, device, reserved, part), most)
    before = resident()
    room = SHARE["cpu"] * (available * part - reserved)
    taken = 0

    def fits(rows: int) -> bool:
        nonlocal taken
        if 2 * taken > room:
            return False  # twice the rows, twice the memory: trying might get the process killed
        trial(rows)
        taken = resident() - before  # the peak: freed memory stays with the process (`keep_freed_memory`)
        return taken <= room

    return _doubled(fits, min(most, max(1, CPU_TOKENS // block_length)))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _doubled(fits: Callable[[int], bool], most: int) -> int:
    """The last of 1, 2, 4, … and `most` before the first that does not fit; at least 1."""
    found, rows = 1, 1
    while fits(rows):
        found = rows
        if rows >= most:
            break
        rows = min(2 * rows, most)
    return found


def _fits_gpu(trial: Callable[[int], None], rows: int, device: torch.device, reserved: int, part: float) -> bool:
    torch.cuda.empty_cache()  # what steps before this one left with the allocator is no need of this one's
    free, whole = torch.cuda.mem_get_info(device)
    limit = SHARE["cuda"] * min(free + torch.cuda.memory_reserved(device), whole * part) - reserved
    torch.cuda.reset_peak_memory_stats(device)
    try:
        trial(rows)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_reserved(device) <= limit
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU had no room: for torch's allocator, for cuBLAS, which takes its workspace past it, or for CUDA."""
    words = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
