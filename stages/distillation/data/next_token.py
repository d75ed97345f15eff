"""What a causal model is asked: at every position the token behind it, within a piece. Nothing is masked or drawn.

Shapes: R rows, L block length.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stages.distillation.data.masking import Masked, MaskRule, mask
from stages.distillation.data.rows import PADDING, Rows
from stages.distillation.losses.formulas import IGNORE


@dataclass(frozen=True)
class NextToken:
    """The rule of a causal model, beside `MaskRule`: every position of a block but its last is asked."""

    block_length: int
    filler_id: int = 0
    """Any token: what blocks are filled with whose gradients are thrown away."""

    @property
    def most(self) -> int:
        """Positions that are asked in any epoch, by the plan: those at a piece's end and in padding among them."""
        return self.block_length - 1

    def masked(self, epoch: int) -> int:
        """The same in `epoch`."""
        return self.most


Rule: TypeAlias = MaskRule | NextToken


def prepared(blocks: Rows, rows: NDArray[np.int64], *, epoch: int, seed: int, rule: Rule) -> Masked:
    """What is learned from the `blocks`, whose stable row numbers are `rows`, in `epoch`: a function of these alone."""
    return next_tokens(blocks) if isinstance(rule, NextToken) else mask(blocks, rows, epoch=epoch, seed=seed, rule=rule)


def next_tokens(blocks: Rows) -> Masked:
    """The blocks as they are, with the token behind each position for its label: `IGNORE` where a piece ends."""
    ids_RL, pieces_RL = blocks.ids_RL, blocks.segments_RL
    labels_RM = ids_RL[:, 1:]
    if pieces_RL is not None:
        goes_on_RM = (pieces_RL[:, 1:] == pieces_RL[:, :-1]) & (pieces_RL[:, 1:] != PADDING)
        labels_RM = np.where(goes_on_RM, labels_RM, np.int32(IGNORE))
    positions_RM = np.tile(np.arange(ids_RL.shape[1] - 1, dtype=np.int32), (len(ids_RL), 1))
    return Masked(ids_RL, positions_RM, labels_RM, pieces_RL)
