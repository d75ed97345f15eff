"""Raw documents to shards, in parallel: each Ray Data task cleans, splits and writes what it reads, and returns totals.

A task's shards are named after its place, so the corpus is the same however many tasks ran at once, and a task that is
run again after its machine died writes over what it had begun.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.data import Dataset

from stages.context import StageContext
from stages.corpus.documents import DocumentWriter, ShardTotals, document_id, is_heldout, normalise
from stages.errors import InputError
from stages.storage import Folder

TASK_CPUS = 0.5
"""Logical CPUs of a task: a fraction, so that tasks run on a two-core machine even where something else holds one."""
_SHARD = pa.struct(
    [("name", pa.string()), ("documents", pa.int64()), ("characters", pa.int64()), ("digest", pa.string())]
)
_TOTALS = pa.schema(
    [
        ("train", pa.list_(_SHARD)),
        ("heldout", pa.list_(_SHARD)),
        ("skipped", pa.list_(pa.string())),
        ("done", pa.int64()),
        ("error", pa.string()),
    ]
)

Row = dict[str, Any]
"""A row of a Ray data set: what a task is to read."""


@dataclass(frozen=True, kw_only=True)
class DocumentRules:
    """What is kept, which side it goes to, and how large a shard is."""

    min_characters: int
    heldout_fraction: float
    shard_characters: int


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that was left out, in the place of its documents; `why` names it."""

    why: str


Raw = str | Skipped
"""What is read: a document's raw text, or what stands for a file's."""


@dataclass(frozen=True, kw_only=True)
class SplitShards:
    """The shards written, in order, and why each file that was skipped, or met and not meant, was."""

    train: list[ShardTotals]
    heldout: list[ShardTotals]
    skipped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def tasks(rows: list[Row]) -> Dataset:
    """A Ray data set with a block, and so a task, for every row."""
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def write_documents(
    rows: list[Row], read: Callable[[Row], Iterator[Raw]], rules: DocumentRules, context: StageContext
) -> SplitShards:
    """Write `train/` and `heldout/` in `context.folder`: the documents that `read` yields for each row, row by row.

    A row's `amount` is what it adds to the progress, in files. Raises the `InputError` of the first row that has one.
    """
    numbered = [{**row, "task": task} for task, row in enumerate(rows)]
    arguments = {"read": read, "rules": rules, "folder": context.folder}
    written = tasks(numbered).map_batches(
        _write_batch, batch_size=1, batch_format="pyarrow", num_cpus=TASK_CPUS, fn_kwargs=arguments
    )
    sides = SplitShards(train=[], heldout=[])
    done, total = 0, sum(row["amount"] for row in rows)
    for row in written.iter_rows():
        if row["error"] is not None:
            raise InputError(row["error"])
        sides.train.extend(ShardTotals(**shard) for shard in row["train"])
        sides.heldout.extend(ShardTotals(**shard) for shard in row["heldout"])
        sides.skipped.extend(row["skipped"])
        done += row["done"]
        context.on_progress(done, total, "files")
    return sides


def _write_batch(
    batch: pa.Table, read: Callable[[Row], Iterator[Raw]], rules: DocumentRules, folder: Folder
) -> pa.Table:
    """The task: one row's documents into its own shards.

    Bad input comes back as a value: raised, Ray Data would print it with two stack traces before we could say it in one
    sentence. Anything else is a fault of ours and is raised.
    """
    (row,) = batch.to_pylist()
    try:
        sides = _write(row["task"], read(row), rules, folder)
    except InputError as error:
        return pa.table([[[]], [[]], [[]], [0], [str(error)]], schema=_TOTALS)
    shards = [[[asdict(shard) for shard in side]] for side in (sides.train, sides.heldout)]
    return pa.table([*shards, [sides.skipped], [row["amount"]], [None]], schema=_TOTALS)


def _write(task: int, raws: Iterator[Raw], rules: DocumentRules, folder: Folder) -> SplitShards:
    skipped: list[str] = []
    with (
        DocumentWriter(folder, f"train/part-{task:05d}", rules.shard_characters) as train,
        DocumentWriter(folder, f"heldout/part-{task:05d}", rules.shard_characters) as heldout,
    ):
        for raw in raws:
            if isinstance(raw, Skipped):
                skipped.append(raw.why)
                continue
            text = normalise(raw)
            if len(text) >= rules.min_characters:
                identifier = document_id(text)
                (heldout if is_heldout(identifier, rules.heldout_fraction) else train).add(text, identifier)
    return SplitShards(train=train.shards, heldout=heldout.shards, skipped=skipped)
