"""Blocks to masked batches: Ray Data streams a worker's share of the plan, from any step to the end of the run.

One data set a worker and a run, not one an epoch: an epoch's start-up costs seconds. Its items are the plan's windows;
a task reads a window's rows, puts them in the plan's order and masks them, so what a worker receives depends on
nothing but (seed, epoch, row) and the plan. Ray Data prefetches while the worker computes. The first item is a single
step's: what a start waits for does not depend on where in a window it begins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray
from ray.data import ExecutionResources

from stages.distillation.data.data_order import Plan, Window
from stages.distillation.data.masking import Masked, mask_rule
from stages.distillation.data.next_token import NextToken, Rule, prepared
from stages.distillation.data.rows import COLUMNS, Rows, joined
from stages.distillation.mask_options import MaskRate, MaskUnit
from stages.errors import InputError, unwrap
from stages.storage import Folder, filesystem_of, read_through
from stages.tokens.blocks import Blocks, Shard

REMEDY = "delete the stage's folder to have it packed again, or set distil.on_damaged to skip"
"""What to do about a shard that cannot be read."""
TASKS_AHEAD = 2
"""Windows that one worker's data set reads and masks at a time, in the background."""
BUFFER_BYTES = 256 * 1024**2
"""Object store that one worker's data set may fill with batches not yet learned from."""


@dataclass(frozen=True)
class Piece:
    """The steps from `start` to `end` (not included), all of one window."""

    window: Window
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Share:
    """One worker's part of a plan, as one pass from `first_step` to the end of the run."""

    folder: Folder
    shards: tuple[Shard, ...]
    plan: Plan
    rule: Rule
    seed: int
    streams: range
    first_step: int

    def pieces(self) -> list[Piece]:
        """What the tasks read, in order: the first step alone, the rest of its window, then window after window."""
        windows = self.plan.windows(self.first_step)
        ends = [min(window.first_step + window.steps, self.plan.steps) for window in windows]
        starts = [max(window.first_step, self.first_step) for window in windows]
        whole = [Piece(*piece) for piece in zip(windows, starts, ends, strict=True)]
        if not whole or whole[0].end - whole[0].start < 2:
            return whole
        first, start, end = whole[0].window, whole[0].start, whole[0].end
        return [Piece(first, start, start + 1), Piece(first, start + 1, end), *whole[1:]]

    def read(self, piece: Piece) -> tuple[NDArray[np.int64], Masked]:
        """(row numbers, those rows masked): this worker's part of a piece, step after step."""
        window = piece.window
        batches = self.plan.window_batches(window, self.streams)
        rows = batches[piece.start - window.first_step : piece.end - window.first_step].ravel()
        blocks = read_rows(self.folder, self.shards, rows)
        return rows, prepared(blocks, rows, epoch=window.epoch, seed=self.seed, rule=self.rule)


def share_of(blocks: Blocks, plan: Plan, rule: Rule, *, seed: int, worker: int, workers: int, first_step: int) -> Share:
    """The part that `worker` of `workers` has in `plan`, from `first_step` on."""
    return Share(
        folder=blocks.folder,
        shards=blocks.shards,
        plan=plan,
        rule=rule,
        seed=seed,
        streams=plan.streams_of(worker, workers),
        first_step=first_step,
    )


def stream(share: Share) -> Iterator[tuple[NDArray[np.int64], Masked]]:
    """For every optimiser step its (row numbers, masked rows): this worker's share of that step's global batch.

    Raises `InputError` for a shard that cannot be read.
    """
    pieces = share.pieces()
    if not pieces:
        return
    shared = ray.put(share)

    def read_and_mask(batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        rows, masked = ray.get(shared).read(pieces[int(batch["item"][0])])
        ids, positions, labels = masked.input_ids_RL, masked.positions_RM, masked.labels_RM
        borders = {} if masked.segments_RL is None else {"segments": masked.segments_RL}
        return {"rows": rows, "input_ids": ids, "positions": positions, "labels": labels} | borders

    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=BUFFER_BYTES)
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # otherwise what a task raised is lost between two wrappers
    with ray.data.DataContext.current(context):
        # Items, not ray.data.range: its read tasks would book a whole CPU each, and where the workers hold the CPUs
        # that is a wait for ever.
        dataset = ray.data.from_items(list(range(len(pieces))), override_num_blocks=len(pieces)).map_batches(
            read_and_mask, batch_size=1, num_cpus=0.25, concurrency=TASKS_AHEAD
        )
    rows = len(share.streams) * share.plan.rows_per_stream
    try:
        for batch in dataset.iter_batches(batch_size=rows, batch_format="numpy", prefetch_batches=2):
            found = Masked(batch["input_ids"], batch["positions"], batch["labels"], batch.get("segments"))
            yield batch["rows"], found
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error


def rule_for(
    blocks: Blocks,
    counts_V: NDArray[np.int64],
    *,
    rate: MaskRate,
    smoothing: float,
    epochs: int = 1,
    unit: MaskUnit = "token",
) -> Rule:
    """What of the blocks is asked for: of a masked model's what `mask_rule` says, of a causal model's the next token,
    and nothing is left to be said."""
    vocabulary = blocks.vocabulary
    if vocabulary.mask_id is None:
        return NextToken(blocks.block_length, vocabulary.pad_id)
    return mask_rule(
        counts_V,
        special_ids=vocabulary.special_ids,
        mask_id=vocabulary.mask_id,
        block_length=blocks.block_length,
        rate=rate,
        epochs=epochs,
        smoothing=smoothing,
        unit=unit,
    )


def read_rows(folder: Folder, shards: tuple[Shard, ...], rows: NDArray[np.int64]) -> Rows:
    """The blocks with these row numbers, in this order; reads each row group that holds any of them once."""
    if not len(rows):
        raise ValueError("read_rows needs at least one row")
    ends = np.cumsum([shard.rows for shard in shards])
    which = np.searchsorted(ends, rows, side="right")
    found, places = [], []
    for index in np.unique(which):
        place = np.flatnonzero(which == index)
        local = rows[place] - (ends[index] - shards[index].rows)
        found.append(_read_shard_rows(folder / shards[index].name, local))
        places.append(place)
    return joined(found)[np.argsort(np.concatenate(places))]


def _read_shard_rows(shard: Folder, local: NDArray[np.int64]) -> Rows:
    with opened(shard) as file:
        sizes = np.array([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
        ends = np.cumsum(sizes)
        groups, group_of = np.unique(np.searchsorted(ends, local, side="right"), return_inverse=True)
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read_row_groups(groups.tolist(), columns=names)
    starts = np.cumsum(sizes[groups]) - sizes[groups]
    chosen = starts[group_of] + local - (ends[groups] - sizes[groups])[group_of]
    return Rows(**{COLUMNS[name]: _lists(table.column(name))[chosen] for name in names})


def _lists(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column of lists of one length as (rows, length)."""
    whole = column.combine_chunks()
    return whole.values.to_numpy(zero_copy_only=False).reshape(-1, whole.type.list_size)


@contextmanager
def opened(shard: Folder) -> Iterator[pq.ParquetFile]:
    """A shard to read from, its pages checked against their checksums.

    Raises `InputError` for damage, by name; OSError for a disk or a network that fails, which another try may mend.
    """
    filesystem, path = filesystem_of(shard.uri)
    try:
        with filesystem.open_input_file(path) as stream:
            yield pq.ParquetFile(stream, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise InputError(f"the block shard {shard} is gone: {REMEDY}.") from error
    except (pa.ArrowInvalid, OSError) as error:  # parquet's own complaints come as OSError too
        read_through(shard.uri)
        first = " ".join(str(error).split())[:200]
        raise InputError(f"the block shard {shard} cannot be read ({first}): {REMEDY}.") from error
