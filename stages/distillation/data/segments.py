"""Where the pieces of a micro-batch's blocks lie, as models and losses need it on a device.

Shapes: R rows, L length, N positions that are no padding, P pieces and one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segments:
    """The pieces of a micro-batch's rows. Padding is a piece of its own: it attends to itself, and counts nowhere."""

    numbers_RL: Tensor
    """Which piece of its row each position belongs to."""
    places_RL: Tensor
    """How far from its piece's start each position is."""
    real_N: Tensor
    """Indices, in the flattened (R · L) batch and ascending, of the positions that are no padding."""
    ends_P: Tensor
    """Where the pieces of all rows, padding among them, end in the flattened batch, int32, ascending from 0."""

    def first(self, device: torch.device) -> "Segments":
        """Of the first row alone, on `device`."""
        real_N = self.real_N[self.real_N < self.numbers_RL.shape[1]]
        ends_P = self.ends_P[self.ends_P <= self.numbers_RL.shape[1]]
        return Segments(*(t.to(device) for t in (self.numbers_RL[:1], self.places_RL[:1], real_N, ends_P)))

    def together_R1LL(self) -> Tensor:
        """Whether two positions are of one piece, (R, 1, L, L) bool."""
        return (self.numbers_RL.unsqueeze(2) == self.numbers_RL.unsqueeze(1)).unsqueeze(1)
