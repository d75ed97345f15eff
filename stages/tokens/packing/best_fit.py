"""Pieces into blocks: best fit over a bounded window, the same for the same pieces in the same order.

Within a window of pieces the longest goes first, each into the fullest block that still has room for it (best-fit
decreasing: at most 11/9 of the fewest blocks, Johnson 1974, and on real text hardly more than it). What is packed is
handed out in the order of the documents; of a window's blocks the emptier half is taken apart again, and its pieces
packed with the next window's.

Shapes: R blocks, L block length.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.distillation.data.rows import PADDING, Rows
from stages.tokens.packing.words import Tokens

WINDOW = 1024
"""Blocks' worth of tokens that are packed together: half a million tokens at 512 a block."""


@dataclass
class BestFit:
    """Takes pieces, gives blocks; holds back what has found no place in a full block yet."""

    length: int
    pad_id: int
    keeps_words: bool = False
    """Whether the pieces say where their words begin, and the blocks are to."""
    window: int = WINDOW
    waiting: list[Tokens] = field(default_factory=list)
    held: int = 0
    """Tokens in `waiting`."""

    def add(self, pieces: Iterable[Tokens]) -> Rows:
        """Take pieces of 1 to L tokens; returns the blocks that are settled now, possibly none."""
        for piece in pieces:
            self.waiting.append(piece)
            self.held += len(piece)
        if self.held < self.window * self.length:
            return self._rows([])
        bins = self._packed()
        full = [sum(len(self.waiting[i]) for i in b) for b in bins]
        fuller = sorted(sorted(range(len(bins)), key=lambda i: -full[i])[: -(-len(bins) // 2)])
        settled = [bins[i] for i in fuller]
        rows = self._rows(settled)
        taken = {i for b in settled for i in b}
        self.waiting = [piece for i, piece in enumerate(self.waiting) if i not in taken]
        self.held = sum(map(len, self.waiting))
        return rows

    def finish(self) -> Rows:
        """The blocks of all that is left."""
        rows, self.waiting, self.held = self._rows(self._packed()), [], 0
        return rows

    def _packed(self) -> list[list[int]]:
        """Numbers of waiting pieces, block by block; both in the order in which the pieces came."""
        lengths = [len(piece) for piece in self.waiting]
        bins = best_fit(lengths, self.length)
        return sorted((sorted(b) for b in bins), key=lambda b: b[0])

    def _rows(self, bins: Sequence[Sequence[int]]) -> Rows:
        ids_RL = np.full((len(bins), self.length), self.pad_id, dtype=np.int32)
        segments_RL = np.full((len(bins), self.length), PADDING, dtype=np.int16)
        words_RL = np.ones((len(bins), self.length), dtype=np.uint8) if self.keeps_words else None
        for row, pieces in enumerate(bins):
            end = 0
            for number, index in enumerate(pieces, start=1):
                piece = self.waiting[index]
                ids_RL[row, end : end + len(piece)] = piece.ids
                if words_RL is not None and piece.begins is not None:
                    words_RL[row, end : end + len(piece)] = piece.begins
                segments_RL[row, end : end + len(piece)] = number
                end += len(piece)
        return Rows(ids_RL, segments_RL, words_RL)


def best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the pieces of these `lengths`, bin by bin; none is longer than a bin's `room`."""
    bins: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(room + 1)]
    """Which bins have exactly so much room left."""
    some = 0  # bit r is set where `with_room[r]` is not empty: finding the fullest bin with room is one operation
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        fitting = some >> length
        if fitting:
            left = length + (fitting & -fitting).bit_length() - 1
            chosen = with_room[left].pop()
            if not with_room[left]:
                some ^= 1 << left
        else:
            left, chosen = room, len(bins)
            bins.append([])
        bins[chosen].append(index)
        with_room[left - length].append(chosen)
        some |= 1 << (left - length)
    return bins
