"""From what a training starts or goes on: read by rank 0 alone, told to the others.

Rank 0 chooses the newest checkpoint, brings its files to its machine once, verifies them there and loads them: so no
two workers go on from different steps, and a restart moves one checkpoint and one teacher out of the store, however
many workers there are. The others get the tensors over the network that carries every step's gradients: about as many
bytes as three steps send. One download a machine would ask the machines to agree on who downloads, would want room on
each of their disks, and would still grow with their number.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.distillation.families.family import LanguageModel
from stages.distillation.step import adamw
from stages.models import load_model, model_like
from stages.storage import Folder
from stages.training.checkpoints import checkpoint, snapshot
from stages.training.checkpoints.checkpoint import TrainState
from stages.training.job import Job
from stages.training.start.shared import Layout, fill_, layout_of, tensors_of, told, untie


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a worker goes on with; the same on all of them."""

    model: LanguageModel
    teacher: LanguageModel | None
    """As it is loaded: not yet frozen."""
    optimizer: torch.optim.Optimizer
    state: TrainState
    counts: NDArray[np.int64]
    """How often each token id occurs in the training blocks, (V,)."""
    broken: tuple[str, ...] = ()
    """Newer checkpoints that do not count, and why; known to rank 0 alone."""


@dataclass(frozen=True, kw_only=True)
class _Outline:
    """What the others are told before any tensor."""

    state: TrainState
    counts: NDArray[np.int64]
    model: Any
    """Its config."""
    weights: Layout
    moments: Layout
    teacher: Any = None
    """Its config; None: there is none."""
    teacher_weights: Layout = ()


def source_of(job: Job, device: torch.device, dtype: torch.dtype, *, rank: int, workers: int) -> Source:
    """The newest whole checkpoint, or the task's start where there is none, and the teacher in the products' `dtype`.

    All workers call it together; only rank 0's reads from the store.
    """
    read = _read(job, device, dtype) if rank == 0 else None
    if workers == 1:
        assert read is not None, "one worker is rank 0"
        return read
    outline = told(None if read is None else _outline(read), device)
    source = read or _empty(outline, job, device, dtype)
    fill_(tensors_of(source.model), outline.weights)
    moments = snapshot.moments(source.optimizer) if rank == 0 else _room(outline.moments, device)
    fill_(moments, outline.moments)
    if rank > 0 and moments:
        snapshot.put_moments(source.optimizer, moments)
    if source.teacher is not None:
        fill_(tensors_of(source.teacher), outline.teacher_weights)
    return source


def _read(job: Job, device: torch.device, dtype: torch.dtype) -> Source:
    with checkpoint.newest_here(job.folder / "checkpoints") as found:
        start = job.task.start if found.local is None else Folder(str(found.local))
        model = load_model(start, _wide(dtype), device, dropout=job.config.dropout)
        optimizer = _optimizer(job, model)
        if found.local is not None:
            snapshot.read(found.local, model, optimizer)
    return Source(
        model=model,
        teacher=None if job.task.teacher is None else load_model(job.task.teacher, dtype, device),
        optimizer=optimizer,
        state=found.state,
        counts=job.blocks.counts(),
        broken=found.broken,
    )


def _outline(source: Source) -> _Outline:
    return _Outline(
        state=source.state,
        counts=source.counts,
        model=source.model.config,
        weights=layout_of(tensors_of(source.model)),
        moments=layout_of(snapshot.moments(source.optimizer)),
        teacher=None if source.teacher is None else source.teacher.config,
        teacher_weights=() if source.teacher is None else layout_of(tensors_of(source.teacher)),
    )


def _empty(outline: _Outline, job: Job, device: torch.device, dtype: torch.dtype) -> Source:
    """Of rank 0's shape, with whatever weights: they are to be written over."""
    model = model_like(outline.model, _wide(dtype), device, dropout=job.config.dropout)
    untie(model, outline.weights)
    teacher = None if outline.teacher is None else model_like(outline.teacher, dtype, device)
    if teacher is not None:
        untie(teacher, outline.teacher_weights)
    return Source(
        model=model,
        teacher=teacher,
        optimizer=_optimizer(job, model),
        state=outline.state,
        counts=outline.counts,
    )


def _optimizer(job: Job, model: LanguageModel) -> torch.optim.Optimizer:
    return adamw(model, learning_rate=job.config.learning_rate, weight_decay=job.config.weight_decay)


def _room(layout: Layout, device: torch.device) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, dtype=dtype, device=device) for name, shape, dtype in layout}


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Of what learns, beside products in `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32
