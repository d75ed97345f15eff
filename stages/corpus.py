"""The corpus stage: from text wherever it lies to clean documents in Parquet shards, train and held-out."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa
import ray
from ray.data import DataContext

from stages import library_docs
from stages.documents import DocumentWriter, ShardTotals, document_id
from stages.errors import ConfigError, InputError, unwrap
from stages.storage import Folder
from stages.where import Where

VERSION = 1
"""Raised whenever this stage's code changes what it makes."""
LIBRARY_SHARD_CHARACTERS = 1 << 21
LIBRARY_TASK_BYTES = 1 << 22
TASK_CPUS = 0.5
"""Logical CPUs of a task: a fraction, so that two run on a two-core machine even where something else holds one."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text, and how it is split."""

    source: Literal["library-docs", "files", "datasets"] = "files"
    distributions: tuple[str, ...] = ()
    """library-docs: the installed distributions to read; none named means `library_docs.DISTRIBUTIONS`."""
    heldout_distributions: tuple[str, ...] = ()
    """library-docs: which of them are held out, whole; none named means `library_docs.HELDOUT_DISTRIBUTIONS`."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Clean documents. Shards are Parquet files with the columns `id` and `text`, named relative to `folder`."""

    folder: Folder
    documents: int
    heldout_documents: int
    characters: int
    heldout_characters: int
    digest: str
    """SHA-256 over all documents' ids in their order, train and then held-out."""
    shards: tuple[str, ...]
    heldout_shards: tuple[str, ...]


def gather(config: CorpusConfig, where: Where) -> Corpus:
    """Read the source, clean it, split it, and write the shards into `where.folder`."""
    for side in ("train", "heldout"):
        (where.folder / side).remove()
    try:
        with _quiet_ordered_data():
            train, heldout = _gather_library_docs(config, where)
    except Exception as error:
        raise unwrap(error) from error
    return _corpus(where.folder, train, heldout)


def _gather_library_docs(config: CorpusConfig, where: Where) -> tuple[list[ShardTotals], list[ShardTotals]]:
    heldout = config.heldout_distributions or library_docs.HELDOUT_DISTRIBUTIONS
    names = dict.fromkeys((*heldout, *(config.distributions or library_docs.DISTRIBUTIONS)))
    files = [file for name in names for file in library_docs.files_of(name, name in heldout)]
    tasks = [
        task
        for side in (True, False)  # held-out first: what it holds is then dropped from train
        for task in library_docs.in_tasks([f for f in files if f.heldout is side], LIBRARY_TASK_BYTES)
    ]
    items = [{"files": [asdict(file) for file in task]} for task in tasks]
    data = ray.data.from_items(items, override_num_blocks=len(items))
    rows = data.map_batches(_read_library_files, batch_size=1, batch_format="pyarrow", num_cpus=TASK_CPUS)
    seen: set[bytes] = set()
    with (
        DocumentWriter(where.folder, "train/part-00000", LIBRARY_SHARD_CHARACTERS) as train,
        DocumentWriter(where.folder, "heldout/part-00000", LIBRARY_SHARD_CHARACTERS) as held,
    ):
        for done, batch in enumerate(rows.iter_batches(batch_size=None, batch_format="pyarrow"), 1):
            for paragraphs, is_heldout in zip(batch["paragraphs"].to_pylist(), batch["heldout"].to_pylist(), strict=True):
                text = " ".join(p for p in paragraphs if _is_new(p, seen))
                if text:
                    (held if is_heldout else train).add(text, document_id(text))
            where.on_progress(done, len(tasks), "files")
    return train.shards, held.shards


def _read_library_files(batch: pa.Table) -> pa.Table:
    """A Ray Data task: the documents of some library files, each as a list of paragraphs."""
    files = [library_docs.LibraryFile(**file) for task in batch["files"].to_pylist() for file in task]
    rows = [(document, file.heldout) for file in files for document in library_docs.documents_in(file)]
    columns = [[row[0] for row in rows], [row[1] for row in rows]]
    return pa.table(columns, schema=pa.schema([("paragraphs", pa.list_(pa.string())), ("heldout", pa.bool_())]))


def _is_new(paragraph: str, seen: set[bytes]) -> bool:
    """Whether these letters have not been seen before; punctuation, digits and case make no new paragraph."""
    letters = "".join(filter(str.isalpha, paragraph.lower()))
    key = hashlib.blake2b(letters.encode(), digest_size=12).digest()
    if key in seen:
        return False
    seen.add(key)
    return True


@contextmanager
def _quiet_ordered_data() -> Iterator[None]:
    """Ray Data with the order of its input and without bars; what was set before comes back."""
    context = DataContext.get_current()
    before = context.copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield
    finally:
        DataContext._set_current(before)


def _corpus(folder: Folder, train: list[ShardTotals], heldout: list[ShardTotals]) -> Corpus:
    if not train:
        raise InputError("the corpus is empty: no document was left after cleaning; name other text in corpus.paths.")
    digest = hashlib.sha256("\n".join(shard.digest for shard in (*train, *heldout)).encode()).hexdigest()
    return Corpus(
        folder=folder,
        documents=sum(shard.documents for shard in train),
        heldout_documents=sum(shard.documents for shard in heldout),
        characters=sum(shard.characters for shard in train),
        heldout_characters=sum(shard.characters for shard in heldout),
        digest=digest,
        shards=tuple(shard.name for shard in train),
        heldout_shards=tuple(shard.name for shard in heldout),
    )
