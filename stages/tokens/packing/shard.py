"""One document shard to one Parquet file of blocks, in bounded memory.

`documents`: every document is read by itself, as the teacher's tokenizer delivers it; several, or their pieces, share a
block, whose end is padding that weighs nothing (`pieces.py`, `best_fit.py`). `stream`: documents are tokenised whole,
joined by the token that ends one and cut to length, without padding, and what is left at a shard's end is dropped and
counted (`stream.py`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.corpus.documents import documents, number_of_documents
from stages.distillation.data.rows import Rows
from stages.errors import InputError
from stages.storage import Folder, filesystem_of
from stages.tokens.config import MAX_MASK_RATE, TokensConfig
from stages.tokens.packing.documents import Documents
from stages.tokens.packing.pieces import cutter
from stages.tokens.packing.stream import Stream
from stages.tokens.packing.words import borders_of
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.unknown import UnknownWords
from stages.tokens.vocabulary import Vocabulary

ROW_GROUP = 128
"""Blocks of a Parquet row group: what is read together. A window of the plan takes some 512 consecutive rows of a shard
(32,768 over 64 streams), and reads besides what of the groups at its two ends is not its own."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What one task found out about the shard it packed."""

    rows: int
    half: int | None
    """Row before which the first half of the documents ends and from which on the second lies, where that was asked."""
    kept: int
    """Tokens in these rows, padding left out."""
    tail: int
    refused: int
    counts_V: NDArray[np.int64]
    digest: str
    tokens: int
    """Of the text, before it was cut into blocks."""
    unknown: int
    """How many of `tokens` are [UNK]."""
    unknown_words: dict[str, int]
    """The commonest words behind them, counted in a sample."""
    words: int = 0
    """In these rows, special tokens and padding left out; 0 where nobody asks."""


class Packer(Protocol):
    """Turns a shard's documents into blocks, and holds what has filled no block yet."""

    def add(self, texts: Sequence[str]) -> tuple[list[Sequence[int]], Rows]:
        """Take documents; returns each one's ids as the text gave them, and the blocks that are settled now."""

    def finish(self) -> Rows:
        """The blocks that are left, when no document is."""

    @property
    def tail(self) -> int:
        """Tokens that are in no block and will be in none."""


def pack_shard(
    config: TokensConfig,
    source: Folder,
    name: str,
    tokenizer_json: str,
    vocabulary: Vocabulary,
    target: Folder,
    language: str = "en",
    *,
    halved: bool = False,
) -> Packed:
    """Pack one document shard into one Parquet file of blocks, in bounded memory; `halved`: no document of its first
    half shares a block with one of its second."""
    with _readable(name):
        tokenizer = text_tokenizer(tokenizer_json, vocabulary)
    unknown = UnknownWords(tokenizer, vocabulary.unk_id)
    borders = borders_of(config, tokenizer_json, language)
    packer: Packer = (
        Stream(tokenizer, config.block_length, vocabulary, borders)
        if config.packing == "stream"
        else Documents(cutter(tokenizer, vocabulary, config.block_length, language, borders), vocabulary)
    )
    filesystem, path = filesystem_of((target / name).uri)
    filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
    with filesystem.open_output_stream(path) as sink, _Writer(sink, config, vocabulary) as writer:
        half = None
        for texts, at_the_middle in _parts(source, name, number_of_documents(source, name) // 2 if halved else 0):
            with _readable(name):
                encoded, rows = packer.add(texts)
            unknown.add(texts, encoded)
            writer.write(rows)
            if at_the_middle:
                writer.write(packer.finish())
                half = writer.rows
        writer.write(packer.finish())
    return Packed(
        rows=writer.rows,
        half=half,
        kept=int(writer.counts_V.sum()),
        tail=packer.tail,
        refused=writer.refused,
        counts_V=writer.counts_V,
        digest=writer.digest.hexdigest(),
        tokens=unknown.tokens,
        unknown=unknown.unknown,
        unknown_words=unknown.words,
        words=writer.words,
    )


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:  # the one class that tokenizers raises
            raise
        raise InputError(
            f"the teacher's tokenizer cannot read a document of {name} ({str(error).splitlines()[0]}); give text of "
            "its words alone, or a tokenizer with an unknown word."
        ) from error


def _parts(source: Folder, name: str, middle: int) -> Iterator[tuple[list[str], bool]]:
    """A shard's documents in lists, cut behind the one of number `middle` (from 1; 0: nowhere), and whether it is there
    that a list ends."""
    done = 0
    for texts in documents(source, name):
        here = middle - done
        done += len(texts)
        if 0 < here <= len(texts):
            yield texts[:here], True
            texts = texts[here:]
        if texts:
            yield texts, False


def schema_of(config: TokensConfig) -> pa.Schema:
    """The columns of a shard: `ids`, `segments` where a block has borders, `words` where those of words are kept."""
    types = {"ids": pa.int32()} | ({"segments": pa.int16()} if config.packing == "documents" else {})
    types |= {} if config.mask_unit == "token" else {"words": pa.uint8()}
    return pa.schema([pa.field(n, pa.list_(t, config.block_length), nullable=False) for n, t in types.items()])


def usable(ids_RL: NDArray[np.int32], vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """Of which blocks enough positions could be masked, (R,); a causal model has use for each that has a text."""
    maskable_R = (~np.isin(ids_RL, vocabulary.special_ids)).sum(axis=1)
    return maskable_R > 0 if vocabulary.causal else maskable_R >= MAX_MASK_RATE * (ids_RL.shape[1] - 2)


class _Writer:
    """Writes blocks of which enough could be masked, and counts what it writes and what it refuses."""

    def __init__(self, sink: pa.NativeFile, config: TokensConfig, vocabulary: Vocabulary) -> None:
        self.config, self.vocabulary = config, vocabulary
        self.counts_V, self.digest = np.zeros(vocabulary.size, dtype=np.int64), hashlib.sha256()
        self.rows = self.refused = self.words = 0
        self._pending = schema_of(config).empty_table()
        self._file = pq.ParquetWriter(sink, self._pending.schema, compression="zstd", write_page_checksum=True)

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and (len(self._pending) or not self.rows):
            self._file.write_table(self._pending)
        self._file.close()

    def write(self, rows: Rows) -> None:
        """Blocks, in whole row groups."""
        keep_R = usable(rows.ids_RL, self.vocabulary)
        self.refused += int((~keep_R).sum())
        rows = rows[keep_R]
        self.rows += len(rows)
        self.counts_V += np.bincount(rows.tokens, minlength=self.vocabulary.size)
        columns: list[NDArray[Any]] = [rows.ids_RL, *([] if rows.segments_RL is None else [rows.segments_RL])]
        for column in columns:  # without the words: held-out text is the same however training text is masked
            self.digest.update(column.tobytes())
        if rows.words_RL is not None:
            self.words += int(rows.words_RL[~np.isin(rows.ids_RL, self.vocabulary.special_ids)].sum())
            columns.append(rows.words_RL)
        length = self.config.block_length
        arrays = [pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), length) for column in columns]
        held = pa.concat_tables([self._pending, pa.table(arrays, schema=self._pending.schema)])
        whole = len(held) - len(held) % ROW_GROUP
        if whole:
            self._file.write_table(held.slice(0, whole), row_group_size=ROW_GROUP)
        self._pending = held.slice(whole)
