"""Blocks as they are stored, and where the pieces lie in them.

Shapes: R rows, L block length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = 0
"""The number of the piece that a padded position belongs to."""
COLUMNS = {"ids": "ids_RL", "segments": "segments_RL", "words": "words_RL"}
"""What a shard calls each part of `Rows`."""


@dataclass(frozen=True)
class Rows:
    """Blocks of token ids. `segments_RL` numbers the pieces of a block from 1, `PADDING` behind the last; None: a block
    is read as one line, without borders or padding. Attention, masks and losses never cross from a piece to another.
    `words_RL` is 1 where a word begins and 0 where it goes on; None: the blocks are masked by tokens alone."""

    ids_RL: NDArray[np.int32]
    segments_RL: NDArray[np.int16] | None = None
    words_RL: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.ids_RL)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Rows":
        """Some of the rows."""
        segments = None if self.segments_RL is None else self.segments_RL[index]
        return Rows(self.ids_RL[index], segments, None if self.words_RL is None else self.words_RL[index])

    @property
    def tokens(self) -> NDArray[np.int32]:
        """The ids of all positions but padding, (N,)."""
        return self.ids_RL.ravel() if self.segments_RL is None else self.ids_RL[self.segments_RL != PADDING]


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows of one or more parts, all with the same columns."""
    arrays = {name: [getattr(part, name) for part in parts] for name in COLUMNS.values()}
    return Rows(**{name: np.concatenate(found) for name, found in arrays.items() if found[0] is not None})


def places(segments_RL: NDArray[np.int16]) -> NDArray[np.int64]:
    """How far from its piece's start each position is, (R, L): what a model's position table is asked for."""
    index_L = np.arange(segments_RL.shape[1])
    begins_RL = np.ones(segments_RL.shape, dtype=bool)
    begins_RL[:, 1:] = segments_RL[:, 1:] != segments_RL[:, :-1]
    return index_L - np.maximum.accumulate(np.where(begins_RL, index_L, 0), axis=1)
