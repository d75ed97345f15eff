"""A worker's rows cut into micro-batches, and how many rows of one fit: found by trying, once, when a training starts.

The gradients are the same whatever the size, so only memory and speed are asked. On a GPU larger ones are faster for
long: sizes double while a step stays within a share of the memory. On a CPU a step of a few thousand tokens is as fast
as any: sizes double up to that many, while a step stays within a share of what is free. Every step's dropout has a seed
of its own and a trial's gradients are thrown away, so trying leaves no trace in the result.
"""

from collections.abc import Callable

import numpy as np
import psutil
import ray.train
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.nn.parallel import DistributedDataParallel

from stages.distillation.masking import Masked
from stages.distillation.step import Batch, accumulate
from stages.reporting import Session

SHARE = {"cuda": 0.85, "cpu": 0.5}
"""Of the memory, what a step may take: a GPU's is the training's alone, a CPU's other processes want some of."""
CPU_TOKENS = 4096
"""Tokens of a micro-batch beyond which a CPU gets hardly faster."""


def micro_batches(masked: Masked, size: int, device: torch.device) -> list[Batch]:
    """A worker's rows of one global batch, cut into micro-batches on its device."""
    tensors = [on_device(a, device).split(size) for a in (masked.input_ids_RL, masked.positions_RM, masked.labels_RM)]
    return [Batch(*part) for part in zip(*tensors, strict=True)]


def on_device(array: NDArray[np.int32], device: torch.device) -> torch.Tensor:
    """As int64. To a GPU from pinned memory: a copy from other memory would have the host wait for the step before,
    and then the next step's kernels are launched late."""
    tensor = torch.as_tensor(array).to(torch.int64)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def placeholder(session: Session, rows: int) -> Batch:
    """A micro-batch of nothing but [MASK], for passes whose gradients are thrown away."""
    length, masked = session.job.blocks.block_length, session.rule.masked_per_block
    ids = np.full((rows, length), session.rule.mask_id, dtype=np.int32)
    positions = np.tile(np.arange(1, masked + 1, dtype=np.int32), (rows, 1))
    return micro_batches(Masked(ids, positions, ids[:, :masked]), rows, session.arithmetic.device)[0]


def micro_batch_of(session: Session) -> int:
    """The config's size; or what an earlier start found to fit; or what fits here, the least of all workers'."""
    job, device = session.job, session.arithmetic.device
    if job.config.micro_batch != "auto":
        return job.config.micro_batch
    if session.state.micro_batch:
        return session.state.micro_batch
    # Without DDP: the workers' trials need not be of the same sizes.
    learner = session.learner.module if isinstance(session.learner, DistributedDataParallel) else session.learner

    def trial(rows: int) -> None:
        try:
            accumulate(learner, session.teacher, [placeholder(session, rows)], session.counts, session.arithmetic)
        finally:
            session.optimizer.zero_grad(set_to_none=True)

    found = fitting(
        trial,
        most=len(job.plan.streams_of(session.rank, session.workers)) * job.plan.rows_per_stream,
        block_length=job.blocks.block_length,
        device=device,
        reserved=0 if session.optimizer.state else 2 * sum(p.nbytes for p in session.model.parameters()),
        part=job.config.gpu_share if job.use_gpu else 1 / ray.train.get_context().get_local_world_size(),
    )
    if session.workers > 1:
        least = torch.tensor(found, device=device)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        found = int(least)
    return found


def fitting(
    trial: Callable[[int], None],
    *,
    most: int,
    block_length: int,
    device: torch.device,
    reserved: int = 0,
    part: float = 1.0,
) -> int:
    """The largest of 1, 2, 4, … and `most` rows with which `trial`, a step's forward and backward pass, fits.

    `reserved`: bytes that training will need beside it and that are not taken yet (the optimiser's state). `part`: of
    the device's memory that is this process's. 1 where not even one row fits: then training will say so itself.
    """
    if device.type == "cuda":
        return _doubled(lambda rows: _fits_gpu(trial, rows, device, reserved, part), most)
    before = resident()
    room = SHARE["cpu"] * (psutil.virtual_memory().available * part - reserved)
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
    return int(psutil.Process().memory_info().rss)


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
    free, whole = torch.cuda.mem_get_info(device)
    limit = SHARE["cuda"] * min(free + torch.cuda.memory_reserved(device), whole * part) - reserved
    torch.cuda.reset_peak_memory_stats(device)
    try:
        trial(rows)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_reserved(device) <= limit
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
