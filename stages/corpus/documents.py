"""A document: clean text and an id made from it; how documents are laid down in Parquet shards, and read again.

The id is a hash of the text alone, so the same text has the same id in any file, on any machine, in any order. The
held-out split looks at nothing else: copies of a text always fall on one side.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from types import TracebackType

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from stages.storage import Folder, filesystem_of

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
ROW_GROUP_CHARACTERS = 1 << 22
"""What a writer holds in memory before it goes to the file: 4 million characters."""
_DOCUMENTS_AT_ONCE = 1024
_PRIME, _BASE = 2**255 - 19, int.from_bytes(hashlib.sha256(b"a corpus's documents in their order").digest())
_UNSEEN = re.compile(r"[^\S ]| {2,}|[^\x20-\x7e]")


def normalise(text: str) -> str:
    """One line of clean text: NFC, every run of white space a single space, nothing at the ends.

    Characters that show nothing go: control and format characters (the byte-order mark, soft hyphens, zero-width
    spaces) and lone surrogates, which no UTF-8 file can hold. The two joiners of Indic and Arabic scripts stay.
    """
    if not _UNSEEN.search(text):  # plain ASCII in one line: most text, and NFC is a no-op on it
        return text.strip()
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if text.isprintable():
        return text
    kept = (c for c in text if c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return " ".join("".join(kept).split())


def document_id(text: str) -> str:
    """32 hex digits (BLAKE2b, 128 bits) of normalised text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_heldout(identifier: str, fraction: float) -> bool:
    """Whether a document is held out: its id, read as a number in [0, 1), lies under `fraction`."""
    return int(identifier[:13], 16) < fraction * 16**13


@dataclass(frozen=True, kw_only=True)
class ShardTotals:
    """What is known of one written shard."""

    name: str
    documents: int
    characters: int
    digest: int
    """See `appended`."""


def appended(digest: int, identifier: str) -> int:
    """The digest of some documents in their order, with one more behind them; that of none is 0.

    A polynomial in a fixed number, its coefficients the ids, modulo the prime 2^255 − 19: so that digests of parts can
    be put together to that of the whole, wherever it was cut into shards. It tells corpora apart, as no two that were
    not made up to collide share one; it is no signature.
    """
    return (digest * _BASE + int(identifier, 16) + 1) % _PRIME


def digest_of(shards: Sequence[ShardTotals]) -> int:
    """The digest of all documents of some shards in their order."""
    whole = 0
    for shard in shards:
        whole = (whole * pow(_BASE, shard.documents, _PRIME) + shard.digest) % _PRIME
    return whole


class DocumentWriter:
    """Writes documents to `<prefix>-000.parquet`, `<prefix>-001.parquet`, ... inside a folder; a context manager.

    A shard is closed once it holds `shard_characters`; no document is cut. Nothing is written for no document.
    """

    def __init__(self, folder: Folder, prefix: str, shard_characters: int) -> None:
        self.shards: list[ShardTotals] = []
        self._folder, self._prefix, self._limit = folder, prefix, shard_characters
        self._file: pq.ParquetWriter | None = None
        self._start()

    def add(self, text: str, identifier: str) -> None:
        """Append a document."""
        self._ids.append(identifier)
        self._texts.append(text)
        self._held += len(text)
        if self._held >= ROW_GROUP_CHARACTERS or self._characters + self._held >= self._limit:
            self._flush()
        if self._characters >= self._limit:
            self._finish()

    def __enter__(self) -> "DocumentWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
            self._finish()
        elif self._file is not None:
            self._file.close()

    def _start(self) -> None:
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._held = self._characters = self._documents = 0
        self._digest = 0

    def _flush(self) -> None:
        if not self._ids:
            return
        if self._file is None:
            self._file = _open(self._folder, f"{self._prefix}-{len(self.shards):03d}.parquet")
        self._file.write_table(pa.table([self._ids, self._texts], schema=SCHEMA))
        self._digest = reduce(appended, self._ids, self._digest)
        self._documents += len(self._ids)
        self._characters += self._held
        self._ids, self._texts, self._held = [], [], 0

    def _finish(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        name = f"{self._prefix}-{len(self.shards):03d}.parquet"
        totals = ShardTotals(name=name, documents=self._documents, characters=self._characters, digest=self._digest)
        self.shards.append(totals)
        self._start()


def _open(folder: Folder, name: str) -> pq.ParquetWriter:
    filesystem, path = filesystem_of(f"{folder.uri.rstrip('/')}/{name}")
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.create_dir(os.path.dirname(path), recursive=True)
    return pq.ParquetWriter(path, SCHEMA, filesystem=filesystem, compression="zstd")


def number_of_documents(source: Folder, name: str) -> int:
    """Of one document shard, from the end of its file."""
    filesystem, path = filesystem_of((source / name).uri)
    with filesystem.open_input_file(path) as stream:
        return pq.ParquetFile(stream).metadata.num_rows


def documents(source: Folder, name: str) -> Iterator[list[str]]:
    """The texts of one document shard, in lists of up to a thousand."""
    filesystem, path = filesystem_of((source / name).uri)
    with filesystem.open_input_file(path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=_DOCUMENTS_AT_ONCE, columns=["text"]):
            yield batch.column(0).to_pylist()
