"""Blocks to masked batches: Ray Data streams a worker's share of the plan, from any step to the end of the run.

One data set a worker and a run, not one an epoch: an epoch's start-up costs seconds. Its items are the plan's windows;
a task reads a window's rows, puts them in the plan's order and masks them, so what a worker receives depends on
nothing but (seed, epoch, row) and the plan. Ray Data prefetches while the worker computes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray
from ray.data import ExecutionResources

from stages.distillation.masking import Masked, MaskRule, mask
from stages.distillation.plan import Plan, Window
from stages.storage import Folder, filesystem_of
from stages.tokens import Blocks, Shard

TASKS_AHEAD = 2
"""Windows that one worker's data set reads and masks at a time, in the background."""
BUFFER_BYTES = 256 * 1024**2
"""Object store that one worker's data set may fill with batches not yet learned from."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One worker's part of a plan, as one pass from `first_step` to the end of the run."""

    folder: Folder
    shards: tuple[Shard, ...]
    plan: Plan
    rule: MaskRule
    seed: int
    streams: range
    first_step: int

    def window(self, window: Window) -> Masked:
        """This worker's masked rows of one window, step after step, without the steps outside the pass."""
        batches = self.plan.window_batches(window, self.streams)
        skip = max(0, self.first_step - window.first_step)
        rows = batches[skip : self.plan.steps - window.first_step].ravel()
        ids_RL = read_rows(self.folder, self.shards, rows)
        return mask(ids_RL, rows, epoch=window.epoch, seed=self.seed, rule=self.rule)


def share_of(
    blocks: Blocks, plan: Plan, rule: MaskRule, *, seed: int, worker: int, workers: int, first_step: int
) -> Share:
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


def stream(share: Share) -> Iterator[Masked]:
    """One `Masked` for every optimiser step: this worker's rows of that step's global batch."""
    windows = share.plan.windows(share.first_step)
    if not windows:
        return
    shared = ray.put(share)

    def read_and_mask(batch: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int32]]:
        masked = ray.get(shared).window(windows[int(batch["item"][0])])
        return {"input_ids": masked.input_ids_RL, "positions": masked.positions_RM, "labels": masked.labels_RM}

    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=BUFFER_BYTES)
    context.enable_progress_bars = False
    with ray.data.DataContext.current(context):
        # Items, not ray.data.range: its read tasks would book a whole CPU each, and where the workers hold the CPUs
        # that is a wait for ever.
        dataset = ray.data.from_items(list(range(len(windows))), override_num_blocks=len(windows)).map_batches(
            read_and_mask, batch_size=1, num_cpus=0.25, concurrency=TASKS_AHEAD
        )
    rows = len(share.streams) * share.plan.rows_per_stream
    for batch in dataset.iter_batches(batch_size=rows, batch_format="numpy", prefetch_batches=2):
        yield Masked(batch["input_ids"], batch["positions"], batch["labels"])


def read_rows(folder: Folder, shards: tuple[Shard, ...], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """The blocks with these row numbers, (R, L), in this order; reads each row group that holds any of them once."""
    ends = np.cumsum([shard.rows for shard in shards])
    which = np.searchsorted(ends, rows, side="right")
    out: NDArray[np.int32] | None = None
    for index in np.unique(which):
        place = np.flatnonzero(which == index)
        local = rows[place] - (ends[index] - shards[index].rows)
        ids = _read_shard_rows(folder / shards[index].name, local)
        out = np.empty((len(rows), ids.shape[1]), dtype=np.int32) if out is None else out
        out[place] = ids
    if out is None:
        raise ValueError("read_rows needs at least one row")
    return out


def _read_shard_rows(shard: Folder, local: NDArray[np.int64]) -> NDArray[np.int32]:
    filesystem, path = filesystem_of(shard.uri)
    with filesystem.open_input_file(path) as stream:
        file = pq.ParquetFile(stream)
        sizes = np.array([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
        ends = np.cumsum(sizes)
        groups, group_of = np.unique(np.searchsorted(ends, local, side="right"), return_inverse=True)
        column = file.read_row_groups(groups.tolist(), columns=["ids"]).column("ids").combine_chunks()
    ids = column.values.to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    starts = np.cumsum(sizes[groups]) - sizes[groups]
    return ids[starts[group_of] + local - (ends[groups] - sizes[groups])[group_of]]
