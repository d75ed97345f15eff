"""The corpus stage: from text wherever it lies to clean documents in Parquet shards, train and held-out.

Files and data sets are read, cleaned, split and written by Ray Data tasks, each its own shards, so that no text passes
through the driver. Only `library-docs` (some 17 MB) does: there no paragraph may come twice, whoever wrote it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

import pyarrow as pa
from ray.data import DataContext

from stages import damage, hub, inputs, library_docs, readers
from stages.documents import DocumentWriter, document_id
from stages.errors import ConfigError, InputError, unwrap
from stages.sift import TASK_CPUS, Raw, Row, Rules, Sides, Skipped, sift, tasks
from stages.storage import Folder
from stages.where import Where, stage

TASK_BYTES, MOST_TASK_BYTES = 1 << 20, 1 << 25
"""Small files are read several a task, so many that some 16 tasks come of it, within these bounds."""
SHARD_CHARACTERS, MOST_SHARD_CHARACTERS = 1 << 21, 1 << 26
"""A shard is a task of the stages after this one: 2 million characters, and up to 64 million where there is much."""
LIBRARY_TASK_BYTES = 1 << 22
PROBED_FILES = 16
SKIPPED = "skipped.txt"
"""In the stage's folder: a line for each file that was skipped, with the reason."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text, and how it is split."""

    source: Literal["library-docs", "files", "datasets"] = "files"
    """library-docs: what installed libraries say of themselves; files: text and tables; datasets: hub, or saved."""
    paths: tuple[str, ...] = ()
    """files: globs, folders, s3:// or gs://; datasets: folders, or `owner/name` or `owner/name:subset` on the hub."""
    text_column: str = "text"
    """The column with the text in tables (.jsonl, .csv, .parquet) and data sets."""
    document_per: Literal["line", "file"] = "line"
    """What a document is in a .txt file."""
    dataset_name: str = ""
    """datasets: the subset of those that name none themselves."""
    split: str = "train"
    """datasets: which split is read."""
    on_damaged: Literal["refuse", "skip"] = "refuse"
    """files: what becomes of a run where a file is broken: it is refused, or goes on without the whole file, which is
    counted; then every file is read twice, first to see whether it is whole."""
    min_characters: int = 20
    """Shorter documents are dropped: they are headings and leftovers."""
    heldout_fraction: float = 0.01
    """files, datasets: about this share of the documents is held out, chosen by a hash of their text."""
    distributions: tuple[str, ...] = ()
    """library-docs: the installed distributions to read; none named means `library_docs.DISTRIBUTIONS`."""
    heldout_distributions: tuple[str, ...] = ()
    """library-docs: those held out, whole; none named means `library_docs.HELDOUT_DISTRIBUTIONS`."""

    def __post_init__(self) -> None:
        if self.min_characters < 1:
            raise ConfigError("corpus.min_characters", self.min_characters, "must be at least 1")
        if not 0 <= self.heldout_fraction <= 0.5:
            raise ConfigError("corpus.heldout_fraction", self.heldout_fraction, "must be from 0 to 0.5")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Clean documents. Shards are Parquet files with the columns `id` and `text`, named relative to `folder`."""

    folder: Folder
    documents: int
    heldout_documents: int
    characters: int
    heldout_characters: int
    digest: str
    """SHA-256 over all documents' ids in their order, train and then held-out, shard by shard."""
    shards: tuple[str, ...]
    heldout_shards: tuple[str, ...]
    skipped_files: int = 0
    """Damaged ones that were left out by choice; `skipped.txt` names them."""

    @property
    def notice(self) -> str:
        """A sentence on what is missing; empty where nothing is."""
        where = f"{self.folder}/{SKIPPED} says which and why"
        return f"corpus: {self.skipped_files:,} damaged files were skipped; {where}." if self.skipped_files else ""


def check(config: CorpusConfig) -> None:
    """Raise `InputError` for what can be seen to be wrong before anything is read through.

    Nothing named or matched, unknown formats, empty files, Parquet files without a footer, and, in the first file and
    some of the others, text that is not UTF-8 or a table without the text column; data sets and distributions that are
    not there. Damaged files pass where they are to be skipped.
    """
    if config.source == "library-docs":
        _library_files(config)
        return
    if not config.paths:
        raise ConfigError("corpus.paths", config.paths, f"must name at least one of the {config.source} to read")
    if config.source == "datasets":
        for path in config.paths:
            hub.resolve(path, config.dataset_name, config.split)
        return
    files = inputs.find(config.paths)
    for file in files:
        if file.bytes == 0 and config.on_damaged == "refuse":
            raise InputError(f"{file.uri} is empty; remove it or leave it out of corpus.paths.")
    files = [file for file in files if file.bytes]
    damaged = damage.first_of_tables([file.uri for file in files], config.text_column)
    if damaged is not None and config.on_damaged == "refuse":
        raise damage.refusal(damaged)
    for file in files[:: -(-len(files) // PROBED_FILES) or 1]:
        try:
            next(readers.documents(file.uri, config.text_column, "line"), None)
        except readers.Damaged as error:
            if config.on_damaged == "refuse":
                raise damage.refusal(error) from None


def identity(config: CorpusConfig) -> dict[str, str]:
    """What the outside world adds to the config, {name: version}: a change of it is a change of the corpus."""
    if config.source == "library-docs":
        train, heldout = _distributions(config)
        return {name: library_docs.version_of(name) for name in sorted({*train, *heldout})}
    if config.source == "datasets":
        found = (hub.identity(path, config.dataset_name, config.split) for path in config.paths)
        return {name: mark for each in found for name, mark in each.items()}
    return {
        f"{place}/{file.name}": f"{file.bytes}:{file.changed_ns}"
        for place, path in enumerate(config.paths)
        for file in inputs.find((path,))
    }


@stage(name="corpus", version=2)
def gather(config: CorpusConfig, where: Where) -> Corpus:
    """Read the source, clean it, split it, and write the shards into `where.folder`.

    The same input gives the same shards and digest however many machines work on it. Raises `InputError` for bad input,
    in whichever task it is found, and where no document is left to train on.
    """
    for side in ("train", "heldout"):
        (where.folder / side).remove()
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # otherwise what a task raised is lost between two wrappers
    try:
        with DataContext.current(context):
            sides = _gather(config, where)
    except Exception as error:
        found = unwrap(error)
        if found is error:
            raise
        raise found from error
    if not sides.train:
        raise InputError(
            f"the corpus is empty: no document of {config.min_characters} characters or more was left to train on; "
            "name more text in corpus.paths, or lower corpus.min_characters."
            + (f" {len(sides.skipped)} damaged files were skipped." if sides.skipped else "")
        )
    if sides.skipped:
        where.folder.write_bytes(SKIPPED, "".join(f"{why}\n" for why in sides.skipped).encode())
    corpus = _corpus(where.folder, sides)
    if corpus.notice:
        where.on_notice(corpus.notice)
    return corpus


def _gather(config: CorpusConfig, where: Where) -> Sides:
    if config.source == "library-docs":
        return _gather_library_docs(config, where)
    empty: list[str] = []
    if config.source == "datasets":
        rows, read, amount = _dataset_rows(config), partial(_read_part, config), MOST_TASK_BYTES * 16
    else:
        found = inputs.find(config.paths)
        files = [file for file in found if file.bytes]  # an empty one is refused by `check`, or skipped
        empty = [f"{file.uri} is empty." for file in found if not file.bytes]
        amount = sum(file.bytes for file in files)
        rows, read = _file_rows(files, amount), partial(_read_files, config)
    rules = Rules(
        min_characters=config.min_characters,
        heldout_fraction=config.heldout_fraction,
        shard_characters=_between(SHARD_CHARACTERS, amount // 16, MOST_SHARD_CHARACTERS),
    )
    sides = sift(rows, read, rules, where) if rows else Sides(train=[], heldout=[])
    return replace(sides, skipped=[*empty, *sides.skipped])


def _file_rows(files: list[inputs.InputFile], total: int) -> list[Row]:
    """Files, in their order, several a task where they are small."""
    rows: list[Row] = []
    room = 0
    for file in files:
        if room <= 0:
            rows.append({"uris": [], "amount": 0})
            room = _between(TASK_BYTES, total // 16, MOST_TASK_BYTES)
        rows[-1]["uris"].append(file.uri)
        rows[-1]["amount"] += 1
        room -= file.bytes
    return rows


def _read_files(config: CorpusConfig, row: Row) -> Iterator[Raw]:
    for uri in row["uris"]:
        if config.on_damaged == "skip" and (damaged := damage.of(uri, config.text_column)) is not None:
            yield Skipped(why=str(damaged))
            continue
        try:
            yield from readers.documents(uri, config.text_column, config.document_per)
        except readers.Damaged as error:
            raise damage.refusal(error) from None


def _dataset_rows(config: CorpusConfig) -> list[Row]:
    sets = [hub.resolve(path, config.dataset_name, config.split) for path in config.paths]
    parts = [part for data in sets for part in hub.parts(data, config.text_column)]
    return [{"index": part.index, "count": part.count, "amount": 1, **asdict(part.data)} for part in parts]


def _read_part(config: CorpusConfig, row: Row) -> Iterator[Raw]:
    data = hub.DataSet(path=row["path"], name=row["name"], split=row["split"], revision=row["revision"])
    return hub.documents(hub.Part(data=data, index=row["index"], count=row["count"]), config.text_column)


def _gather_library_docs(config: CorpusConfig, where: Where) -> Sides:
    files = _library_files(config)
    rows = [
        {"files": [asdict(file) for file in task], "heldout": heldout}
        for heldout in (True, False)  # held-out first: what it holds is then dropped from train
        for task in library_docs.in_tasks([file for file in files if file.heldout is heldout], LIBRARY_TASK_BYTES)
    ]
    found = tasks(rows).map_batches(_read_library_files, batch_size=1, batch_format="pyarrow", num_cpus=TASK_CPUS)
    seen: set[bytes] = set()
    done = 0
    with (
        DocumentWriter(where.folder, "train/part-00000", SHARD_CHARACTERS) as train,
        DocumentWriter(where.folder, "heldout/part-00000", SHARD_CHARACTERS) as heldout,
    ):
        for row in found.iter_rows():
            for paragraphs in row["documents"]:
                text = " ".join(paragraph for paragraph in paragraphs if library_docs.is_new(paragraph, seen))
                if len(text) >= config.min_characters:
                    (heldout if row["heldout"] else train).add(text, document_id(text))
            done += row["done"]
            where.on_progress(done, len(files), "files")
    return Sides(train=train.shards, heldout=heldout.shards)


def _read_library_files(batch: pa.Table) -> pa.Table:
    """A task: the documents of some library files, each as a list of paragraphs."""
    (row,) = batch.to_pylist()
    files = [library_docs.LibraryFile(**file) for file in row["files"]]
    documents = [document for file in files for document in library_docs.documents_in(file)]
    types = [("documents", pa.list_(pa.list_(pa.string()))), ("heldout", pa.bool_()), ("done", pa.int64())]
    return pa.table([[documents], [row["heldout"]], [len(files)]], schema=pa.schema(types))


def _library_files(config: CorpusConfig) -> list[library_docs.LibraryFile]:
    train, heldout = _distributions(config)
    if not train:
        raise ConfigError("corpus.distributions", config.distributions, "must name some that are not held out")
    return [file for name in (*train, *heldout) for file in library_docs.files_of(name, name in heldout)]


def _distributions(config: CorpusConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(train, held out), by name."""
    heldout = config.heldout_distributions or library_docs.HELDOUT_DISTRIBUTIONS
    named = config.distributions or library_docs.DISTRIBUTIONS
    return tuple(name for name in dict.fromkeys(named) if name not in heldout), tuple(dict.fromkeys(heldout))


def _corpus(folder: Folder, sides: Sides) -> Corpus:
    ordered = "\n".join(shard.digest for shard in (*sides.train, *sides.heldout))
    return Corpus(
        folder=folder,
        documents=sum(shard.documents for shard in sides.train),
        heldout_documents=sum(shard.documents for shard in sides.heldout),
        characters=sum(shard.characters for shard in sides.train),
        heldout_characters=sum(shard.characters for shard in sides.heldout),
        digest=hashlib.sha256(ordered.encode()).hexdigest(),
        shards=tuple(shard.name for shard in sides.train),
        heldout_shards=tuple(shard.name for shard in sides.heldout),
        skipped_files=len(sides.skipped),
    )


def _between(least: int, value: int, most: int) -> int:
    return min(max(least, value), most)
