"""A worker's beginning: device, models, optimiser and place, DDP around them, and how many rows go at a time."""

import os
import shutil
from dataclasses import replace

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from stages.distillation.data.next_token import Rule
from stages.distillation.hardware import dtype_of, keep_freed_memory
from stages.distillation.losses import gpu as losses_gpu
from stages.distillation.models.compiled import compile_blocks, uncompiled
from stages.distillation.models.frozen import freeze
from stages.distillation.step import Arithmetic, DistillationModule, accumulate
from stages.errors import InputError
from stages.evaluation.heldout import heldout
from stages.training.channel import ChannelWriter, Resumed
from stages.training.job import Job
from stages.training.loader import rule_for
from stages.training.micro_batch import devices_of, micro_batch_of, placeholder
from stages.training.session import Session
from stages.training.start.source import source_of

COMPILED_STEPS = 1000
"""Optimiser steps from which compiling pays: it takes about a minute on a GPU, and makes a step a fifth faster."""


def begin(job: Job, channel: ChannelWriter, rank: int, workers: int) -> Session:
    """Load models and optimiser on this worker's device, and the newest checkpoint where there is one."""
    device = ray.train.torch.get_device() if job.use_gpu else torch.device("cpu")
    torch.set_num_threads(job.config.threads or max(1, len(os.sched_getaffinity(0)) // local_workers()))
    if device.type == "cpu":
        keep_freed_memory()
    dtype = dtype_of(job.config.precision, device)
    arithmetic = Arithmetic(
        device=device, dtype=dtype, scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    )
    compiles = compiles_blocks(job, device)
    source = source_of(job, device, dtype, rank=rank, workers=workers)
    model, state = source.model.train(), source.state
    teacher = None if source.teacher is None else freeze(source.teacher, dtype)
    if compiles:
        compile_blocks(model)
        if teacher is not None:
            compile_blocks(teacher)
    if state.loss_scale != 1.0:
        arithmetic.scaler.load_state_dict({**arithmetic.scaler.state_dict(), "scale": state.loss_scale})
    module: nn.Module = DistillationModule(model, job.task.weights)
    if workers > 1:
        module = DistributedDataParallel(
            module,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,  # none of them changes, and sending them would be another wait in every step
            gradient_as_bucket_view=True,
        )
    if rank == 0:
        notices = [f"passed over a checkpoint: {why}; going on from step {state.step}." for why in source.broken]
        if device.type == "cuda" and (slow := losses_gpu.why_not_compiled(device)):
            notices.append(slow)  # its warning, in each worker, reaches nobody
        channel.put(Resumed(step=state.step, history=state.history, notices=tuple(notices)))
    session = Session(
        job=job,
        channel=channel,
        rank=rank,
        workers=workers,
        arithmetic=arithmetic,
        module=module,
        model=model,
        teacher=teacher,
        optimizer=source.optimizer,
        rule=rule_of(job, source.counts),
        held=None,
        state=state,
        saved_step=state.step,
    )
    if workers > 1:
        arrange_ddp_buckets(session)
    devices = devices_of(session)
    size = micro_batch_of(session, devices)
    session.state = replace(session.state, micro_batch=size, devices=devices, threads=torch.get_num_threads())
    if rank == 0:
        session.held = heldout(job.blocks, most=job.config.evaluate_blocks, micro_batch=size, device=device)
    return session


def compiles_blocks(job: Job, device: torch.device) -> bool:
    """Whether torch.compile is worth its time here, or was asked for; `InputError` where that cannot be."""
    if job.config.compile != "auto":
        compiler = os.environ.get("CXX", "g++")
        if job.config.compile and device.type == "cpu" and shutil.which(compiler) is None:
            raise InputError(
                f"distil.compile asks for torch.compile and there is no C++ compiler ({compiler}) on this machine; "
                "install one, name it in CXX, or set distil.compile to false."
            )
        if job.config.compile and device.type == "cuda" and (why := losses_gpu.why_not_compiled(device)):
            raise InputError(f"distil.compile asks for torch.compile, and {why} Or leave distil.compile at auto.")
        return job.config.compile
    return device.type == "cuda" and job.plan.steps >= COMPILED_STEPS and losses_gpu.compiles(device)


def arrange_ddp_buckets(session: Session) -> None:
    """One backward pass whose gradients are thrown away: DDP arranges its buckets by the order in which gradients came
    in its first one, and three or more workers' sums depend, in their last bit, on the arrangement. So a start in the
    middle of a run adds up as one that never stopped."""
    with uncompiled():
        accumulate(session.module, session.teacher, [placeholder(session, 1)], session.counts(0), session.arithmetic)
    session.optimizer.zero_grad(set_to_none=True)


def rule_of(job: Job, counts: NDArray[np.int64]) -> Rule:
    """What of the training blocks is asked for, in each epoch; `counts`: of their tokens."""
    return rule_for(
        job.blocks,
        counts,
        rate=job.config.mask_rate,
        epochs=job.plan.epochs,
        smoothing=job.config.mask_smoothing,
        unit=job.blocks.mask_unit,
    )


def local_workers() -> int:
    """Workers on this machine."""
    return int(ray.train.get_context().get_local_world_size())
