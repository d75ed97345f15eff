"""A worker's loop: stream, step, report, checkpoint. Runs in every Ray Train worker, the same code on each."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from stages.distillation.data.batch import micro_batches
from stages.distillation.data.masking import Masked
from stages.distillation.schedule import dropout_seed, learning_rate_factor
from stages.distillation.step import accumulate, update
from stages.errors import InputError
from stages.training.channel import ChannelWriter, Failed, Stopped
from stages.training.job import Job
from stages.training.loader import Share, share_of, stream
from stages.training.reporting import Log
from stages.training.session import Session
from stages.training.start.begin import begin

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
