"""A worker's loop: stream, step, report, checkpoint. Runs in every Ray Train worker, the same code on each."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from stages.distillation.data.batch import micro_batches
from stages.distillation.data.masking import Masked
from stages.distillation.data.next_token import Rule
from stages.distillation.families.family import LanguageModel
from stages.distillation.hardware import dtype_of, keep_freed_memory
from stages.distillation.losses import gpu as losses_gpu
from stages.distillation.models.compiled import compile_blocks, uncompiled
from stages.distillation.models.frozen import freeze
from stages.distillation.schedule import dropout_seed, learning_rate_factor
from stages.distillation.step import Arithmetic, DistillationModule, accumulate, adamw, update
from stages.errors import InputError
from stages.evaluation.heldout import heldout
from stages.models import load_model
from stages.training.channel import ChannelWriter, Failed, Resumed, Stopped
from stages.training.checkpoints import checkpoint
from stages.training.checkpoints.checkpoint import TrainState
from stages.training.job import Job
from stages.training.loader import Share, rule_for, share_of, stream
from stages.training.micro_batch import micro_batch_of, placeholder
from stages.training.reporting import Log
from stages.training.session import Session

COMPILED_STEPS = 1000
"""Optimiser steps from which compiling pays: it takes about a minute on a GPU, and makes a step a fifth faster."""

Batches = Iterable[tuple[NDArray[np.int64], Masked]]


def loop(config: dict[str, ray.ObjectRef[Job]]) -> None:
    """Train from the newest checkpoint to the plan's last step. `config` refers to the `Job`; Ray Train wants a dict.

    What another start would meet again is told to the driver once, and the start after it ends at once.
    """
    job, context = ray.get(config["job"]), ray.train.get_context()
    channel = ChannelWriter(job.channel)
    try:
        if not channel.failed:
            session = begin(job, channel, context.get_world_rank(), context.get_world_size())
            learn(session, stream(share(session)))
    except InputError as error:
        channel.put(Failed(error=error))
        if context.get_world_size() > 1:
            raise  # the others wait for this worker's gradients
    finally:
        channel.close()


def learn(session: Session, batches: Batches) -> None:
    """One optimiser step for every batch, with reports, evaluations and checkpoints on the way."""
    job, config = session.job, session.job.config
    log, first, rate = Log(session), session.state.step, 0.0
    done = first
    with row_log(session) as note:
        for rows, masked in batches:
            if stop_agreed(session, done):
                stop(session, log, done, rate, learned=done > first)
                return
            torch.manual_seed(dropout_seed(job.seed, done, session.rank))
            rate = config.learning_rate * learning_rate_factor(done, steps=job.plan.steps, warmup=config.warmup)
            parts = micro_batches(masked, session.state.micro_batch, session.arithmetic.device)
            counts = session.counts(done)
            sums = accumulate(session.module, session.teacher, parts, counts, session.arithmetic)
            norm = update(session.module, session.optimizer, rate, session.arithmetic)
            log.add(sums, norm, counts)
            note(done, rows)
            done += 1
            last = done == job.plan.steps
            evaluates = last or done % config.evaluate_every == 0
            saves = last or done % config.checkpoint_every == 0
            reports = evaluates or saves or done % config.log_every == 0
            if reports and not log.report(done, rate, evaluates=evaluates, saves=saves, last=last):
                return


def stop_agreed(session: Session, done: int) -> bool:
    """Whether to stop now. Several workers stop at the same step, or some would wait for the others' gradients."""
    if session.workers == 1:
        return session.channel.stop_asked
    if done % session.ask_every:
        return False
    asked = torch.tensor(float(session.channel.stop_asked), device=session.arithmetic.device)
    dist.all_reduce(asked)
    return asked.item() > 0


def stop(session: Session, log: Log, done: int, rate: float, *, learned: bool) -> None:
    """Leave a checkpoint of what is done, and say so; there is one where nothing was `learned` since the start."""
    whole = not learned or log.report(done, rate, evaluates=False, saves=True, last=True)
    if session.rank == 0 and whole:
        session.channel.put(Stopped(step=done))


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
    model, teacher = loaded(job, device, dtype)
    optimizer = adamw(model, learning_rate=job.config.learning_rate, weight_decay=job.config.weight_decay)
    found = checkpoint.look(job.folder / "checkpoints")
    state = TrainState(step=0) if found.newest is None else checkpoint.load(found.newest, model, optimizer)
    if state.loss_scale != 1.0:
        arithmetic.scaler.load_state_dict({**arithmetic.scaler.state_dict(), "scale": state.loss_scale})
    module: nn.Module = DistillationModule(model, job.task.weights)
    if workers > 1:
        module = DistributedDataParallel(
            module, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True
        )
    rule = rule_of(job)
    if rank == 0:
        notices = tuple(f"passed over a checkpoint: {why}; going on from step {state.step}." for why in found.broken)
        channel.put(Resumed(step=state.step, history=state.history, notices=notices))
    session = Session(
        job=job,
        channel=channel,
        rank=rank,
        workers=workers,
        arithmetic=arithmetic,
        module=module,
        model=model,
        teacher=teacher,
        optimizer=optimizer,
        rule=rule,
        held=None,
        state=state,
        saved_step=state.step,
    )
    if workers > 1:
        arrange_ddp_buckets(session)
    size = micro_batch_of(session)
    session.state = replace(session.state, micro_batch=size, threads=torch.get_num_threads())
    if rank == 0:
        session.held = heldout(job.blocks, most=job.config.evaluate_blocks, micro_batch=size, device=device)
    return session


def loaded(job: Job, device: torch.device, dtype: torch.dtype) -> tuple[LanguageModel, LanguageModel | None]:
    """What learns, in fp32 at least and with the config's dropout, and its teacher, if any, in the products' dtype."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    model = load_model(job.task.start, wide, device, dropout=job.config.dropout).train()
    teacher = None if job.task.teacher is None else freeze(load_model(job.task.teacher, dtype, device), dtype)
    if compiles_blocks(job, device):
        compile_blocks(model)
        if teacher is not None:
            compile_blocks(teacher)
    return model, teacher


def compiles_blocks(job: Job, device: torch.device) -> bool:
    """Whether torch.compile is worth its time here, or was asked for; `InputError` where that cannot be."""
    if job.config.compile != "auto":
        compiler = os.environ.get("CXX", "g++")
        if job.config.compile and device.type == "cpu" and shutil.which(compiler) is None:
            raise InputError(
                f"distil.compile asks for torch.compile and there is no C++ compiler ({compiler}) on this machine; "
                "install one, name it in CXX, or set distil.compile to false."
            )
        return job.config.compile
    return device.type == "cuda" and job.plan.steps >= COMPILED_STEPS and losses_gpu.compiles(device)


def arrange_ddp_buckets(session: Session) -> None:
    """One backward pass whose gradients are thrown away: DDP arranges its buckets by the order in which gradients came
    in its first one, and three or more workers' sums depend, in their last bit, on the arrangement. So a start in the
    middle of a run adds up as one that never stopped."""
    with uncompiled():
        accumulate(session.module, session.teacher, [placeholder(session, 1)], session.counts(0), session.arithmetic)
    session.optimizer.zero_grad(set_to_none=True)


def share(session: Session) -> Share:
    """What this worker is streamed."""
    job = session.job
    return share_of(
        job.blocks,
        job.plan,
        session.rule,
        seed=job.seed,
        worker=session.rank,
        workers=session.workers,
        first_step=session.state.step,
    )


@contextmanager
def row_log(session: Session) -> Iterator[Callable[[int, NDArray[np.int64]], None]]:
    """Writes (step, its row numbers) of this worker and start, a line a step; nothing unless the config asks."""
    if not session.job.config.row_log:
        yield lambda step, rows: None
        return
    folder = Path(session.job.folder.path) / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{time.time_ns()}-rank-{session.rank}.csv").open("w", buffering=1) as file:
        yield lambda step, rows: print(step, *rows, sep=",", file=file)


def rule_of(job: Job) -> Rule:
    """What of the training blocks is asked for, in each epoch."""
    return rule_for(
        job.blocks,
        job.blocks.counts(),
        rate=job.config.mask_rate,
        epochs=job.plan.epochs,
        smoothing=job.config.mask_smoothing,
        unit=job.blocks.mask_unit,
    )


def local_workers() -> int:
    """Workers on this machine."""
    return int(ray.train.get_context().get_local_world_size())
