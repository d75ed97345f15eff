"""What each kind of source is, to the tasks that read it: their rows, and how each is cleaned, split and written.

Files and data sets are read by Ray Data tasks, each into shards of its own, so that no text passes through the driver.
Only `library-docs` (some 17 MB) does: there no paragraph may come twice, whoever wrote it.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial

import pyarrow as pa

from stages.context import StageContext
from stages.corpus.cleaning import Tally, why_dropped
from stages.corpus.config import CorpusConfig
from stages.corpus.documents import DocumentWriter, document_id
from stages.corpus.joining import joined
from stages.corpus.sources import file_tasks, hub, library_docs
from stages.corpus.sources.files import look as look_for_files
from stages.corpus.write_documents import (
    SIDES,
    TASK_CPUS,
    DocumentRules,
    Raw,
    Row,
    SplitShards,
    tasks,
    write_documents,
)
from stages.errors import ConfigError
from stages.storage import Folder

SHARD_CHARACTERS, MOST_SHARD_CHARACTERS = 1 << 21, 1 << 26
"""A shard is a task of the stages after this one: 2 million characters, and up to 64 million where there is much."""
LIBRARY_TASK_BYTES = 1 << 22


def gathered(config: CorpusConfig, context: StageContext) -> SplitShards:
    """The shards of whichever source the config names, train and held-out, written into `context.folder`."""
    if config.source == "library-docs":
        return _gather_library_docs(config, context)
    empty: list[str] = []
    left_out: list[str] = []
    unit = "parts"
    if config.source == "datasets":
        rows, read, amount = _dataset_rows(config), partial(_read_part, config), file_tasks.MOST_TASK_BYTES * 16
        versions = [hub.identity(path, config.dataset_name, config.split) for path in config.paths]
        work = f"{config!r} {versions!r}"
    else:
        root = Folder(context.folder.uri.rstrip("/").rsplit("/", 2)[0])
        found = look_for_files(config.paths, root)
        files = [file for file in found.files if file.bytes]  # an empty one is refused by `check`, or skipped
        empty = [f"{file.uri} is empty." for file in found.files if not file.bytes]
        left_out = found.left_out
        amount = sum(file.bytes for file in files)
        rows = [file_tasks.row_of(parts) for parts in file_tasks.parts(config, files, root)]
        read, work = partial(file_tasks.read, config), f"{config!r} {files!r}"
        unit = "files" if sum(row["amount"] for row in rows) == len(files) else unit
    rules = DocumentRules(
        min_characters=config.min_characters,
        heldout_fraction=config.heldout_fraction,
        shard_characters=min(max(SHARD_CHARACTERS, amount // 16), MOST_SHARD_CHARACTERS),
        clean=config.clean,
    )
    sides = write_documents(rows, read, rules, context, work=work, unit=unit)
    return replace(sides, skipped=[*empty, *sides.skipped], left_out=left_out)


def _dataset_rows(config: CorpusConfig) -> list[Row]:
    hub.reach(config.paths)  # at once, where `datasets` would try for minutes
    sets = [hub.resolve(path, config.dataset_name, config.split) for path in config.paths]
    return [
        {"part": asdict(part), "joined": path in config.joined, "amount": 1}
        for path, data in zip(config.paths, sets, strict=True)
        for part in hub.parts(data, config.text_column)
    ]


def _read_part(config: CorpusConfig, row: Row) -> Iterator[Raw]:
    part = hub.Part(**row["part"] | {"data": hub.DataSet(**row["part"]["data"])})
    texts = hub.documents(part, config.text_column)
    return joined(((0, text) for text in texts), config.join_rows) if row["joined"] else texts


def _gather_library_docs(config: CorpusConfig, context: StageContext) -> SplitShards:
    for side in SIDES:
        (context.folder / side).remove()
    files = library_files(config)
    rows = [
        {"files": [asdict(file) for file in task], "heldout": heldout}
        for heldout in (True, False)  # held-out first: what it holds is then dropped from train
        for task in library_docs.in_tasks([file for file in files if file.heldout is heldout], LIBRARY_TASK_BYTES)
    ]
    found = tasks(rows).map_batches(_read_library_files, batch_size=1, batch_format="pyarrow", num_cpus=TASK_CPUS)
    seen: set[bytes] = set()
    tally, done = Tally(), 0
    with (
        DocumentWriter(context.folder, "train/part-00000", SHARD_CHARACTERS) as train,
        DocumentWriter(context.folder, "heldout/part-00000", SHARD_CHARACTERS) as heldout,
    ):
        for row in found.iter_rows():
            for paragraphs in row["documents"]:
                text = " ".join(paragraph for paragraph in paragraphs if library_docs.is_new(paragraph, seen))
                if len(text) < config.min_characters:
                    continue
                if step := why_dropped(text, config.clean):
                    tally.add(step, text)
                else:
                    (heldout if row["heldout"] else train).add(text, document_id(text))
            done += row["done"]
            context.on_progress(done, len(files), "files")
    return SplitShards(train=train.shards, heldout=heldout.shards, dropped=tally.dropped)


def _read_library_files(batch: pa.Table) -> pa.Table:
    """A task: the documents of some library files, each as a list of paragraphs."""
    (row,) = batch.to_pylist()
    files = [library_docs.LibraryFile(**file) for file in row["files"]]
    documents = [document for file in files for document in library_docs.documents_in(file)]
    types = [("documents", pa.list_(pa.list_(pa.string()))), ("heldout", pa.bool_()), ("done", pa.int64())]
    return pa.table([[documents], [row["heldout"]], [len(files)]], schema=pa.schema(types))


def library_files(config: CorpusConfig) -> list[library_docs.LibraryFile]:
    """The files of all distributions that are read; raises `InputError` for one that is not installed, or none."""
    train, heldout = distributions(config)
    if not train:
        raise ConfigError("corpus.distributions", config.distributions, "must name some that are not held out")
    return [file for name in (*train, *heldout) for file in library_docs.files_of(name, name in heldout)]


def distributions(config: CorpusConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(train, held out), by name."""
    heldout = config.heldout_distributions or library_docs.HELDOUT_DISTRIBUTIONS
    named = config.distributions or library_docs.DISTRIBUTIONS
    return tuple(name for name in dict.fromkeys(named) if name not in heldout), tuple(dict.fromkeys(heldout))
