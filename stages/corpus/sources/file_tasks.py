"""Files to the tasks that read them: several small ones a task, and of a large one a part."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import pyarrow as pa

from stages.corpus import readers, validation
from stages.corpus.config import CorpusConfig
from stages.corpus.formats.ranges import WHOLE, Range, ranges
from stages.corpus.joining import joined
from stages.corpus.sources.files import InputFile, look
from stages.corpus.write_documents import TASK_CPUS, Raw, Row, Skipped, tasks
from stages.errors import InputError
from stages.storage import Folder

TASK_BYTES, MOST_TASK_BYTES = 1 << 20, 1 << 25
"""A task reads so much that some 16 come of it, within these bounds; of a file that can be split whole units."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a task is to read of a file."""

    uri: str
    start: int
    end: int | None
    joined: bool
    """Whether its rows are to be joined."""
    damage: str = ""
    """Why the whole file is left out."""

    @property
    def range(self) -> Range:
        """The bytes."""
        return Range(start=self.start, end=self.end)


def parts(config: CorpusConfig, files: list[InputFile], root: Folder | None) -> list[list[Part]]:
    """What each task reads, in the order of the files. Where damaged files are to be skipped, one that is split is
    read through here first, in tasks as well: what is wrong with a part of it is wrong with all."""
    join = {file.uri for file in look(config.joined, root).files}
    size = min(max(TASK_BYTES, sum(file.bytes for file in files) // 16), MOST_TASK_BYTES)
    found: list[list[Part]] = []
    room = 0
    for file in files:
        cut = ranges(file.bytes, size) if readers.can_be_split(file.uri, config.document_per) else [WHOLE]
        for one in cut:
            if room <= 0:
                found.append([])
                room = size
            part = Part(uri=file.uri, start=one.start, end=one.end, joined=file.uri in join)
            found[-1].append(part)
            room -= (file.bytes if one.end is None else one.end) - one.start
    return _without_damaged(config, found) if config.on_damaged == "skip" else found


def read(config: CorpusConfig, row: Row) -> Iterator[Raw]:
    """The raw documents of a task's parts; its row is what `row_of` makes of them."""
    for part in (Part(**one) for one in row["parts"]):
        if part.damage:
            yield Skipped(why=part.damage)
            continue
        if config.on_damaged == "skip" and part.range == WHOLE and (damage := _damage(config, part)):
            yield Skipped(why=damage)
            continue
        rows = readers.rows(part.uri, config.text_column, config.document_per, config.mark, part.range)
        try:
            yield from joined(rows, config.join_rows) if part.joined else (text for _, text in rows)
        except readers.Damaged as error:
            raise validation.refusal(error) from None


def row_of(parts: list[Part]) -> Row:
    """For `write_documents`."""
    return {"parts": [asdict(part) for part in parts], "amount": len(parts)}


def _without_damaged(config: CorpusConfig, found: list[list[Part]]) -> list[list[Part]]:
    """With each damaged file that is split as one part, which says what is wrong with it."""
    split = [part for task in found for part in task if part.range != WHOLE]
    if not split:
        return found
    looked = tasks([asdict(part) for part in split]).map_batches(
        partial(_look, config=config), batch_size=1, batch_format="pyarrow", num_cpus=TASK_CPUS
    )
    damage: dict[str, str] = {}
    for row in looked.iter_rows():
        if row["error"] is not None:
            raise InputError(row["error"])
        if row["damage"]:
            damage.setdefault(row["uri"], row["damage"])
    kept = [
        [
            part if part.uri not in damage else replace(part, damage=damage[part.uri])
            for part in task
            if part.uri not in damage or part.start == 0
        ]
        for task in found
    ]
    return [task for task in kept if task]


def _look(batch: pa.Table, config: CorpusConfig) -> pa.Table:
    """A task: what is wrong with a part of a file. Bad input is a value, as in `write_documents`."""
    (row,) = batch.to_pylist()
    part, error = Part(**row), None
    try:
        damage = _damage(config, part)
    except InputError as raised:
        damage, error = "", str(raised)
    types = [("uri", pa.string()), ("damage", pa.string()), ("error", pa.string())]
    return pa.table([[part.uri], [damage], [error]], schema=pa.schema(types))


def _damage(config: CorpusConfig, part: Part) -> str:
    damaged = validation.of(part.uri, config.text_column, config.mark, part.range)
    return "" if damaged is None else str(damaged)
