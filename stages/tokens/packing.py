"""One document shard to one Parquet file of blocks, in bounded memory: RoBERTa's full-sentence packing (section 4.2).

Documents are tokenised whole, joined by [SEP] and cut to length; every block is `[CLS] … [SEP]` without padding, so
that no step computes anything for nothing. What is left at a shard's end is dropped and counted.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.corpus.documents import documents
from stages.storage import Folder, filesystem_of
from stages.tokens.config import MAX_MASK_RATE, TokensConfig
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.unknown import UnknownWords
from stages.tokens.vocabulary import Vocabulary

ROW_GROUP = 1024
"""Blocks of a Parquet row group, at least: what is read together."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What one task found out about the shard it packed."""

    rows: int
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


def pack_shard(
    config: TokensConfig, source: Folder, name: str, tokenizer_json: str, vocabulary: Vocabulary, target: Folder
) -> Packed:
    """Pack one document shard into one Parquet file of blocks, in bounded memory."""
    tokenizer = text_tokenizer(tokenizer_json)
    unknown = UnknownWords(tokenizer, vocabulary.unk_id)
    counts_V, rows, refused, digest = np.zeros(vocabulary.size, dtype=np.int64), 0, 0, hashlib.sha256()
    schema = pa.schema([pa.field("ids", pa.list_(pa.int32(), config.block_length), nullable=False)])
    packer, pending = _Packer(config.block_length, vocabulary), schema.empty_table()
    filesystem, path = filesystem_of((target / name).uri)
    filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
    with (
        filesystem.open_output_stream(path) as sink,
        pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for texts in documents(source, name):
            encoded = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
            unknown.add(texts, encoded)
            blocks_RL = packer.add(encoded)
            keep_R = maskable(blocks_RL, vocabulary) >= MAX_MASK_RATE * (config.block_length - 2)
            refused += int((~keep_R).sum())
            blocks_RL = blocks_RL[keep_R]
            rows += len(blocks_RL)
            counts_V += np.bincount(blocks_RL.ravel(), minlength=vocabulary.size)
            digest.update(blocks_RL.tobytes())
            column = pa.FixedSizeListArray.from_arrays(pa.array(blocks_RL.ravel()), config.block_length)
            pending = pa.concat_tables([pending, pa.table([column], schema=schema)])
            if len(pending) >= ROW_GROUP:
                writer.write_table(pending, row_group_size=len(pending))
                pending = pending.slice(len(pending))
        writer.write_table(pending)
    return Packed(
        rows=rows,
        tail=packer.tail,
        refused=refused,
        counts_V=counts_V,
        digest=digest.hexdigest(),
        tokens=unknown.tokens,
        unknown=unknown.unknown,
        unknown_words=unknown.words,
    )


def maskable(blocks_RL: NDArray[np.int32], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """How many positions of each block could be masked, (R,)."""
    return (~np.isin(blocks_RL, vocabulary.special_ids)).sum(axis=1)


class _Packer:
    """Joins documents by [SEP] and cuts the line into blocks; keeps what has filled no block yet."""

    def __init__(self, block_length: int, vocabulary: Vocabulary) -> None:
        self.inner, self.vocabulary = block_length - 2, vocabulary
        self.line: list[int] = []

    @property
    def tail(self) -> int:
        """Tokens that fill no block so far."""
        return len(self.line)

    def add(self, documents: list[list[int]]) -> NDArray[np.int32]:
        """Append token lists; returns the blocks that are full now, (R, L), possibly none."""
        for ids in documents:
            if ids:
                self.line.extend(ids)
                self.line.append(self.vocabulary.sep_id)
        full = len(self.line) // self.inner
        blocks_RL = np.empty((full, self.inner + 2), dtype=np.int32)
        blocks_RL[:, 0], blocks_RL[:, -1] = self.vocabulary.cls_id, self.vocabulary.sep_id
        blocks_RL[:, 1:-1] = np.array(self.line[: full * self.inner], dtype=np.int32).reshape(full, self.inner)
        del self.line[: full * self.inner]
        return blocks_RL
