"""Which rows are global batch g: arithmetic, so that nothing has to be replayed and nothing depends on the workers.

In every epoch the shards are permuted and laid end to end; the line is cut into C equal canonical streams; a stream's
rows are permuted within windows; and every global batch takes B / C rows from each stream. A worker owns some of the
streams, so any number of workers up to C sees the same global batches, and reads nothing twice.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stages.errors import InputError

_SHARDS, _ROWS = 0, 1
"""What a permutation is for: part of its key, so that the two never share a stream of random numbers."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive steps of one epoch whose rows are shuffled together, and read by one task."""

    epoch: int
    index: int
    """Its number within the epoch: part of the key of its permutations."""
    first_step: int
    """Global number of its first optimiser step, counted from 0 over all epochs."""
    steps: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order in which `shard_rows` are learned from in batches of `global_batch` rows, for `steps` steps."""

    shard_rows: tuple[int, ...]
    """Rows in each shard; row numbers run through the shards in this order, from 0 to N − 1."""
    global_batch: int
    steps: int
    seed: int
    max_streams: int = 64
    window_rows: int = 32_768
    """Rows shuffled together, over all streams: 64 MiB of int32 ids at 512 tokens a row."""

    def __post_init__(self) -> None:
        if self.rows < self.global_batch:
            raise InputError(
                f"the corpus has {self.rows:,} blocks but distil.global_batch is {self.global_batch:,}; "
                "lower distil.global_batch or tokens.block_length, or give more text."
            )

    @cached_property
    def rows(self) -> int:
        """N, the number of blocks."""
        return sum(self.shard_rows)

    @property
    def streams(self) -> int:
        """C, the number of canonical streams: divides the global batch, and depends on no worker count."""
        return math.gcd(self.global_batch, self.max_streams)

    @property
    def rows_per_stream(self) -> int:
        """Rows that every global batch takes from each stream."""
        return self.global_batch // self.streams

    @property
    def steps_per_epoch(self) -> int:
        """floor(N / B); the remainder, `rows` − steps · B, sits out this epoch (other rows sit out the next)."""
        return self.rows // self.global_batch

    @property
    def epochs(self) -> int:
        """In how many epochs the run's steps lie; of the last there may be a part only."""
        return -(-self.steps // self.steps_per_epoch)

    def epoch_of(self, step: int) -> int:
        """The epoch that optimiser step `step`, counted from 0 over all epochs, belongs to."""
        return step // self.steps_per_epoch

    @property
    def window_steps(self) -> int:
        """Steps whose rows are shuffled together."""
        return max(1, self.window_rows // self.global_batch)

    def streams_of(self, worker: int, workers: int) -> range:
        """The streams that `worker` (0 … workers − 1) owns. Shares differ by one stream at most."""
        if workers > self.streams:
            raise InputError(
                f"{workers} workers cannot share a global batch of {self.global_batch} blocks in {self.streams} "
                f"streams; use at most {self.streams} workers, or a global batch divisible by more."
            )
        return range(worker * self.streams // workers, (worker + 1) * self.streams // workers)

    def windows(self, first_step: int) -> list[Window]:
        """The windows from the one that holds `first_step` to the end of the run, in order; none from the end on."""
        found: list[Window] = []
        if first_step >= self.steps:  # a run restarted after its last step, which may lie within a window
            return found
        for epoch in range(self.epoch_of(first_step), self.epochs):
            start = epoch * self.steps_per_epoch
            for index, offset in enumerate(range(0, self.steps_per_epoch, self.window_steps)):
                steps = min(self.window_steps, self.steps_per_epoch - offset)
                if start + offset + steps > first_step and start + offset < self.steps:
                    found.append(Window(epoch=epoch, index=index, first_step=start + offset, steps=steps))
        return found

    def window_batches(self, window: Window, streams: range) -> NDArray[np.int64]:
        """Row numbers, (steps of the window, rows of `streams` in a step): row s is their share of that batch."""
        offset = window.first_step - window.epoch * self.steps_per_epoch
        share = [self._stream_rows(window, stream, offset).reshape(window.steps, -1) for stream in streams]
        return np.concatenate(share, axis=1)

    def _stream_rows(self, window: Window, stream: int, offset: int) -> NDArray[np.int64]:
        """One stream's rows in `window`, shuffled; `offset` is the window's first step within its epoch."""
        per_step = self.rows_per_stream
        start = (stream * self.steps_per_epoch + offset) * per_step
        places = np.arange(start, start + window.steps * per_step)
        shuffle = self._generator(_ROWS, window.epoch, stream, window.index)
        return self._rows_at(shuffle.permutation(places), window.epoch)

    def _rows_at(self, places: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """The rows at `places` of the line in which this epoch's permuted shards lie end to end."""
        sizes = np.asarray(self.shard_rows, dtype=np.int64)
        order = self._generator(_SHARDS, epoch, 0, 0).permutation(len(sizes))
        ends = np.cumsum(sizes[order])
        which = np.searchsorted(ends, places, side="right")
        within = places - (ends[which] - sizes[order][which])
        return (np.cumsum(sizes) - sizes)[order][which] + within

    def _generator(self, purpose: int, epoch: int, stream: int, window: int) -> np.random.Generator:
        counter = np.array([0, (stream << 32) | window, purpose, epoch], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=np.array([self.seed, 1], dtype=np.uint64), counter=counter))
