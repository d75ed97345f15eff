"""Raw documents to shards, in parallel: each Ray Data task cleans, splits and writes what it reads, and returns totals.

A task's shards are named after its place, so the corpus is the same however many tasks ran at once, and a task that is
run again after its machine died writes over what it had begun. One that has ended leaves its result beside its shards,
by which a corpus that was stopped goes on.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.data import Dataset

from stages.context import StageContext
from stages.corpus.cleaning import Dropped, Tally, why_dropped
from stages.corpus.config import CleaningStep
from stages.corpus.documents import DocumentWriter, ShardTotals, document_id, is_heldout, normalise
from stages.errors import InputError
from stages.finished_tasks import FinishedTasks
from stages.storage import Folder, filesystem_of

TASK_CPUS = 0.5
"""Logical CPUs of a task: a fraction, so that tasks run on a two-core machine even where something else holds one."""
SIDES = ("train", "heldout")
FINISHED = "finished"
"""In the stage's folder: a file for each task that has ended."""
_ANSWER = pa.schema([("task", pa.int64()), ("result", pa.string()), ("error", pa.string())])

Row = dict[str, Any]
"""A row of a Ray data set: what a task is to read."""


@dataclass(frozen=True, kw_only=True)
class DocumentRules:
    """What is kept, which side it goes to, and how large a shard is."""

    min_characters: int
    heldout_fraction: float
    shard_characters: int
    clean: tuple[CleaningStep, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that was left out, in the place of its documents; `why` names it."""

    why: str


Raw = str | Skipped
"""What is read: a document's raw text, or what stands for a file's."""


@dataclass(frozen=True, kw_only=True)
class SplitShards:
    """The shards written, in order; why each file that was skipped, or met and not meant, was; what cleaning took."""

    train: list[ShardTotals]
    heldout: list[ShardTotals]
    skipped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)

    def to_json(self) -> str:
        """As text, for a file."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "SplitShards":
        """What `to_json` wrote."""
        said = json.loads(text)
        sides = {side: [ShardTotals(**shard) for shard in said[side]] for side in SIDES}
        dropped = [Dropped(**one | {"samples": tuple(one["samples"])}) for one in said["dropped"]]
        return SplitShards(**said | sides | {"dropped": dropped})

    @property
    def names(self) -> set[str]:
        """Of all shards, as paths within the stage's folder."""
        return {shard.name for shard in (*self.train, *self.heldout)}


def together(parts: list[SplitShards]) -> SplitShards:
    """All of them, one after another."""
    tally = Tally()
    for dropped in (one for part in parts for one in part.dropped):
        tally.join(dropped)
    return SplitShards(
        train=[shard for part in parts for shard in part.train],
        heldout=[shard for part in parts for shard in part.heldout],
        skipped=[why for part in parts for why in part.skipped],
        left_out=[why for part in parts for why in part.left_out],
        dropped=tally.dropped,
    )


def tasks(rows: list[Row]) -> Dataset:
    """A Ray data set with a block, and so a task, for every row."""
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def write_documents(
    rows: list[Row],
    read: Callable[[Row], Iterator[Raw]],
    rules: DocumentRules,
    context: StageContext,
    *,
    work: str = "",
    unit: str = "files",
) -> SplitShards:
    """Write `train/` and `heldout/` in `context.folder`: the documents that `read` yields for each row, row by row.

    A row's `amount` is what it adds to the progress, in `unit`. `work` says what else bears on what the rows' tasks
    make, the files' versions above all: tasks that had finished the same work before are not run again. Raises the
    `InputError` of the first row that has one.
    """
    finished = FinishedTasks(folder=context.folder / FINISHED, work=f"{work} {rows!r} {rules!r}")
    made = _made_before(finished, context.folder)
    done, total = sum(rows[task]["amount"] for task in made), sum(row["amount"] for row in rows)
    if made:
        context.on_notice(
            f"corpus: {len(made):,} of {len(rows):,} tasks had been finished before and are not run again."
        )
        context.on_progress(done, total, unit)
    left = [{**row, "task": task} for task, row in enumerate(rows) if task not in made]
    arguments = {"read": read, "rules": rules, "folder": context.folder, "finished": finished}
    for row in _each(left, _write_batch, arguments):
        if row["error"] is not None:
            raise InputError(row["error"])
        made[row["task"]] = SplitShards.from_json(row["result"])
        done += rows[row["task"]]["amount"]
        context.on_progress(done, total, unit)
    return together([made[task] for task in range(len(rows))])


def _each(rows: list[Row], task: Callable[..., pa.Table], arguments: dict[str, Any]) -> Iterator[Row]:
    """What `task` makes of every row, in order."""
    if rows:
        made = tasks(rows).map_batches(
            task, batch_size=1, batch_format="pyarrow", num_cpus=TASK_CPUS, fn_kwargs=arguments
        )
        yield from made.iter_rows()


def _made_before(finished: FinishedTasks, folder: Folder) -> dict[int, SplitShards]:
    """The results of tasks whose shards are all there; shards that belong to none of them are deleted."""
    there = {f"{side}/{name}" for side in SIDES for name in (folder / side).names()}
    found = {task: SplitShards.from_json(text) for task, text in finished.find()}
    whole = {task: sides for task, sides in found.items() if sides.names <= there}
    filesystem, path = filesystem_of(folder.uri)
    for name in sorted(there - {name for sides in whole.values() for name in sides.names}):
        filesystem.delete_file(f"{path}/{name}")
    return whole


def _write_batch(
    batch: pa.Table,
    read: Callable[[Row], Iterator[Raw]],
    rules: DocumentRules,
    folder: Folder,
    finished: FinishedTasks,
) -> pa.Table:
    """The task: one row's documents into its own shards.

    Bad input comes back as a value: raised, Ray Data would print it with two stack traces before we could say it in one
    sentence. Anything else is a fault of ours and is raised.
    """
    (row,) = batch.to_pylist()
    task = row.pop("task")
    try:
        result = _write(task, read(row), rules, folder).to_json()
    except InputError as error:
        return pa.table([[task], [None], [str(error)]], schema=_ANSWER)
    finished.leave(task, result)
    return pa.table([[task], [result], [None]], schema=_ANSWER)


def _write(task: int, raws: Iterator[Raw], rules: DocumentRules, folder: Folder) -> SplitShards:
    skipped: list[str] = []
    tally = Tally()
    with (
        DocumentWriter(folder, f"train/part-{task:05d}", rules.shard_characters) as train,
        DocumentWriter(folder, f"heldout/part-{task:05d}", rules.shard_characters) as heldout,
    ):
        for raw in raws:
            if isinstance(raw, Skipped):
                skipped.append(raw.why)
                continue
            text = normalise(raw)
            if len(text) < rules.min_characters:
                continue
            if step := why_dropped(text, rules.clean):
                tally.add(step, text)
                continue
            identifier = document_id(text)
            (heldout if is_heldout(identifier, rules.heldout_fraction) else train).add(text, identifier)
    return SplitShards(train=train.shards, heldout=heldout.shards, skipped=skipped, dropped=tally.dropped)
