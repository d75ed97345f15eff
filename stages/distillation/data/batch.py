"""Masked rows as a device computes them: cut into micro-batches, and copied there without anybody waiting."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.distillation.data.masking import Masked
from stages.distillation.data.rows import PADDING, places
from stages.distillation.data.segments import Segments
from stages.distillation.losses.formulas import IGNORE


@dataclass(frozen=True)
class Batch:
    """A micro-batch on the device: ids as both models read them, the positions at which a token is asked for, which
    one it is, and where the pieces of its blocks lie (None: each is one line without padding)."""

    input_ids_RL: Tensor
    positions_RM: Tensor
    labels_RM: Tensor
    """`IGNORE` where, after all, none is asked for: behind a piece's last token."""
    segments: Segments | None = None
    asked_A: Tensor | None = None
    """Indices, in the flattened (R · M) and ascending, of the labels that are not `IGNORE`; None: all."""

    def first(self, device: torch.device) -> "Batch":
        """Its first row alone, on `device`."""
        segments = None if self.segments is None else self.segments.first(device)
        ids, positions, labels = (t[:1].to(device) for t in (self.input_ids_RL, self.positions_RM, self.labels_RM))
        asked = None if self.asked_A is None else self.asked_A[self.asked_A < labels.shape[1]].to(device)
        return Batch(ids, positions, labels, segments, asked)

    def asked_index(self) -> Tensor:
        """Indices (A,), in the flattened (R · L) batch, of the positions at which a token is asked for: R · M of them,
        less those with the label `IGNORE`."""
        rows, length = self.input_ids_RL.shape
        starts = torch.arange(0, rows * length, length, device=self.input_ids_RL.device).unsqueeze(1)
        index = (starts + self.positions_RM).flatten()
        return index if self.asked_A is None else index[self.asked_A]

    def labels(self) -> Tensor:
        """The tokens that are asked for, (A,)."""
        labels = self.labels_RM.flatten()
        return labels if self.asked_A is None else labels[self.asked_A]


def micro_batches(masked: Masked, size: int, device: torch.device) -> list[Batch]:
    """A worker's rows of one global batch, cut into micro-batches on its device."""
    tensors = [on_device(a, device).split(size) for a in (masked.input_ids_RL, masked.positions_RM, masked.labels_RM)]
    ids, positions, labels = tensors
    nothing: list[None] = [None] * len(ids)
    borders = nothing if masked.segments_RL is None else _segments(masked.segments_RL, size, device)
    asked = [_asked(masked.labels_RM[start : start + size], device) for start in range(0, len(masked.labels_RM), size)]
    return [Batch(*found) for found in zip(ids, positions, labels, borders, asked, strict=True)]


def _asked(labels_RM: NDArray[np.int32], device: torch.device) -> Tensor | None:
    """Counted here, on the host, as pieces are."""
    counts = labels_RM.ravel() != IGNORE
    return None if counts.all() else on_device(np.flatnonzero(counts), device)


def _segments(segments_RL: NDArray[np.int16], size: int, device: torch.device) -> list[Segments]:
    places_RL = places(segments_RL)
    numbers, within = on_device(segments_RL, device).split(size), on_device(places_RL, device).split(size)
    found = []
    for index, start in enumerate(range(0, len(segments_RL), size)):
        # Counted here, on the host: how many positions are no padding, and how many pieces there are, is the shape of
        # what is computed, and a device that was asked for it would have to be waited for.
        rows = slice(start, start + size)
        real = np.flatnonzero(segments_RL[rows].ravel() != PADDING)
        ends = np.append(np.flatnonzero(places_RL[rows].ravel() == 0), segments_RL[rows].size)
        counted = on_device(real, device), on_device(ends, device, torch.int32)
        found.append(Segments(numbers[index], within[index], *counted))
    return found


def on_device(array: NDArray[Any], device: torch.device, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """To a GPU from pinned memory: a copy from other memory would have the host wait for the step before, and then the
    next step's kernels are launched late."""
    tensor = torch.as_tensor(array).to(dtype)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
