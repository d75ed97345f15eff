"""How many rows a worker computes at a time: the config's number, or what is found to fit on its device.

Every step's dropout has a seed of its own and a trial's gradients are thrown away, so trying leaves no trace in the
result.
"""

import numpy as np
import psutil
import ray.train
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from stages.distillation.data.batch import Batch, micro_batches
from stages.distillation.data.masking import Masked
from stages.distillation.hardware import name_of
from stages.distillation.models.compiled import uncompiled
from stages.distillation.step import accumulate
from stages.training.micro_batch_search import fitting
from stages.training.session import Session
from stages.training.start.shared import gathered


def placeholder(session: Session, rows: int) -> Batch:
    """A micro-batch of one token over and over, for passes whose gradients are thrown away; as many positions are asked
    as a block ever has."""
    length, masked = session.job.blocks.block_length, session.rule.most
    ids = np.full((rows, length), session.rule.filler_id, dtype=np.int32)
    positions = np.tile(np.arange(length - 1 - masked, length - 1, dtype=np.int32), (rows, 1))
    segments = np.ones_like(ids, dtype=np.int16) if session.job.blocks.packing == "documents" else None
    return micro_batches(Masked(ids, positions, ids[:, :masked], segments), rows, session.arithmetic.device)[0]


def devices_of(session: Session) -> str:
    """The kinds of card or processor that the workers compute on, which may be several."""
    mine = name_of(session.arithmetic.device)
    return "; ".join(sorted(set(gathered(mine)))) if session.workers > 1 else mine


def micro_batch_of(session: Session, devices: str) -> int:
    """The config's size; or what an earlier start found to fit on such `devices`; or what fits here, the least of all
    workers'. All workers have the same state, so all look for it or none."""
    job, device = session.job, session.arithmetic.device
    if job.config.micro_batch != "auto":
        return job.config.micro_batch
    if session.state.micro_batch and session.state.devices in ("", devices):
        return session.state.micro_batch
    # Without DDP: the workers' trials need not be of the same sizes.
    module = session.module.module if isinstance(session.module, DistributedDataParallel) else session.module

    def trial(rows: int) -> None:
        try:
            with uncompiled():
                accumulate(module, session.teacher, [placeholder(session, rows)], session.counts(0), session.arithmetic)
        finally:
            session.optimizer.zero_grad(set_to_none=True)

    found = fitting(
        trial,
        most=len(job.plan.streams_of(session.rank, session.workers)) * job.plan.rows_per_stream,
        block_length=job.blocks.block_length,
        device=device,
        available=psutil.virtual_memory().available,
        reserved=0 if session.optimizer.state else 2 * sum(p.nbytes for p in session.model.parameters()),
        part=job.config.gpu_share if job.use_gpu else 1 / ray.train.get_context().get_local_world_size(),
    )
    if session.workers > 1:
        least = torch.tensor(found, device=device)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        found = int(least)
    return found
