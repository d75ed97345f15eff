"""Which inputs are learned from together, and as which tensors.

Shapes: R inputs of a batch, L tokens of its longest, C outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.tasks.fine_tuning.inputs import IGNORED, Inputs
from stages.tasks.task import Kind

BUCKET = 50
"""Batches' worth of inputs that are put in order of length together: little padding, and still another batch each
epoch."""


@dataclass(frozen=True, kw_only=True)
class TaskBatch:
    """Some inputs on a device, padded to their longest."""

    rows: NDArray[np.int64]
    input_ids_RL: Tensor
    real_RL: Tensor
    """int64, 1 but in padding."""
    types_RL: Tensor
    labels: Tensor
    """classes: (R,) int64; number: (R,) fp32; tokens: (R, L) int64; spans: (R, 2) int64."""


def order(lengths_I: NDArray[np.int64], *, batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The batches of an epoch, as numbers of inputs: a function of seed and epoch, the same for models that read inputs
    alike."""
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    shuffled, size = rng.permutation(len(lengths_I)), batch * BUCKET
    found: list[NDArray[np.int64]] = []
    for first in range(0, len(shuffled), size):
        bucket = shuffled[first : first + size]
        bucket = bucket[np.argsort(lengths_I[bucket], kind="stable")]
        batches = [bucket[i : i + batch] for i in range(0, len(bucket), batch)]
        found += [batches[i] for i in rng.permutation(len(batches))]
    return found


def by_length(inputs: Inputs, batch: int) -> Iterator[NDArray[np.int64]]:
    """All inputs, the longest first, so that what does not fit into memory shows at once."""
    longest_first = np.argsort(-inputs.lengths_I, kind="stable")
    yield from (longest_first[i : i + batch] for i in range(0, len(longest_first), batch))


def batch_of(inputs: Inputs, rows: NDArray[np.int64], *, kind: Kind, pad: int, device: torch.device) -> TaskBatch:
    """The inputs `rows` as tensors."""
    lengths = inputs.lengths_I[rows]
    real = np.arange(lengths.max())[None, :] < lengths[:, None]
    where = np.concatenate([np.arange(inputs.starts_I[row], inputs.starts_I[row + 1]) for row in rows])
    ids = np.full(real.shape, pad, dtype=np.int64)
    ids[real] = inputs.ids_N[where]
    types = np.zeros(real.shape, dtype=np.int64)
    types[real] = inputs.types_N[where]
    if kind == "tokens":
        labels = np.full(real.shape, IGNORED, dtype=np.int64)
        labels[real] = inputs.labels[where]
    else:
        labels = inputs.labels[rows]
    answers = torch.from_numpy(labels).to(device)
    return TaskBatch(
        rows=rows,
        input_ids_RL=torch.from_numpy(ids).to(device),
        real_RL=torch.from_numpy(real.astype(np.int64)).to(device),
        types_RL=torch.from_numpy(types).to(device),
        labels=answers.float() if kind == "number" else answers,
    )
