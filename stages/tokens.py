"""Documents to packed blocks: the teacher's own tokenizer, full-sentence packing, Parquet, and vocabulary counts.

Packing is RoBERTa's full-sentence one (section 4.2), a document shard at a time: documents are tokenised whole, joined
by [SEP] and cut to length; every block is `[CLS] … [SEP]` without padding, so that no step computes anything for
nothing. What is left at a shard's end is dropped and counted.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stages.corpus import Corpus
from stages.errors import ConfigError, InputError, unwrap
from stages.storage import Folder, filesystem_of
from stages.where import Where, stage

MAX_MASK_RATE = 0.5
"""Packing refuses a block in which fewer than this share of the positions could be masked ([SEP] and [UNK] cannot)."""
ROW_GROUP = 1024
"""Blocks of a Parquet row group, at least: what is read together."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What makes a folder's tokenizer loadable, by `tokenizers` and by transformers."""
_DOCUMENTS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """How documents become blocks."""

    block_length: int = 512
    """Tokens in a block, [CLS] and the last [SEP] among them; at most the teacher's positions."""

    def __post_init__(self) -> None:
        if self.block_length < 8:
            raise ConfigError("tokens.block_length", self.block_length, "must be at least 8 tokens")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What packing and masking must know of a tokenizer."""

    size: int
    cls_id: int
    sep_id: int
    mask_id: int
    unk_id: int
    special_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A Parquet file of blocks, by its path within the blocks' folder."""

    name: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Packed blocks on storage: each file has a column `ids`, lists of `block_length` int32. Row numbers run through
    `shards` in order from 0; `counts.npy` in the folder counts every token id of the training blocks."""

    folder: Folder
    shards: tuple[Shard, ...]
    heldout: tuple[Shard, ...]
    block_length: int
    vocabulary: Vocabulary
    tokens: int
    heldout_tokens: int
    tail_tokens: int
    """Tokens at the ends of shards that filled no block, dropped."""
    refused_blocks: int
    unknown_rate: float
    """Share of [UNK] among the training tokens."""
    heldout_digest: str
    """SHA-256 over the held-out blocks: two evaluations are comparable where it is equal."""

    @property
    def rows(self) -> int:
        """The number of training blocks."""
        return sum(shard.rows for shard in self.shards)

    def counts(self) -> NDArray[np.int64]:
        """How often each token id occurs in the training blocks, (V,)."""
        return np.load(io.BytesIO(self.folder.read_bytes("counts.npy")))


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """What one task found out about the shard it packed."""

    rows: int
    tail: int
    refused: int
    counts_V: NDArray[np.int64]
    digest: str


def vocabulary_of(tokenizer_json: str) -> Vocabulary:
    """The vocabulary of a `tokenizers` tokenizer given as JSON; `InputError` where it lacks one of BERT's tokens."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    names = ("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]")
    ids = {name: found for name in names if (found := tokenizer.token_to_id(name)) is not None}
    missing = [name for name in names if name not in ids]
    if missing:
        raise InputError(
            f"the teacher's tokenizer lacks {', '.join(missing)}; choose a BERT with a WordPiece tokenizer."
        )
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special} | set(ids.values())
    return Vocabulary(
        size=tokenizer.get_vocab_size(),
        cls_id=ids["[CLS]"],
        sep_id=ids["[SEP]"],
        mask_id=ids["[MASK]"],
        unk_id=ids["[UNK]"],
        special_ids=tuple(sorted(special)),
    )


class HasTokenizer(Protocol):
    """A teacher, or a tokenizer that has no model yet: a folder with `tokenizer.json` in it."""

    @property
    def folder(self) -> Folder:
        """Where `tokenizer.json` lies."""


@stage(name="tokens", version=1)
def pack(config: TokensConfig, corpus: Corpus, source: HasTokenizer, where: Where) -> Blocks:
    """Tokenise and pack a corpus, one Ray Data task a document shard; `InputError` where nothing is left."""
    tokenizer_json = source.folder.read_bytes("tokenizer.json").decode()
    vocabulary = vocabulary_of(tokenizer_json)
    names = [*corpus.shards, *corpus.heldout_shards]
    packed: dict[str, _Packed] = {}
    for name, result in _pack_all(config, corpus.folder, names, tokenizer_json, vocabulary, where.folder):
        packed[name] = result
        where.on_progress(len(packed), len(names), "shards")
    train, held = ([(n, packed[n]) for n in part] for part in (corpus.shards, corpus.heldout_shards))
    counts_V = sum((p.counts_V for _, p in train), np.zeros(vocabulary.size, dtype=np.int64))
    buffer = io.BytesIO()
    np.save(buffer, counts_V)
    where.folder.write_bytes("counts.npy", buffer.getvalue())
    return Blocks(
        folder=where.folder,
        shards=_some(train, config, "training"),
        heldout=_some(held, config, "held-out"),
        block_length=config.block_length,
        vocabulary=vocabulary,
        tokens=sum(p.rows for _, p in train) * config.block_length,
        heldout_tokens=sum(p.rows for _, p in held) * config.block_length,
        tail_tokens=sum(p.tail for p in packed.values()),
        refused_blocks=sum(p.refused for p in packed.values()),
        unknown_rate=float(counts_V[vocabulary.unk_id] / max(1, counts_V.sum())),
        heldout_digest=hashlib.sha256("".join(p.digest for _, p in held).encode()).hexdigest(),
    )


def _some(packed: list[tuple[str, _Packed]], config: TokensConfig, part: str) -> tuple[Shard, ...]:
    shards = tuple(Shard(name=name, rows=p.rows) for name, p in packed if p.rows)
    if not shards:
        raise InputError(
            f"the corpus has no {part} block of {config.block_length} tokens; "
            "give more text, or lower tokens.block_length."
        )
    return shards


def _pack_all(
    config: TokensConfig,
    source: Folder,
    names: list[str],
    tokenizer_json: str,
    vocabulary: Vocabulary,
    target: Folder,
) -> Iterator[tuple[str, _Packed]]:
    """Run `pack_shard` over all shards as a Ray Data stream; yields as they finish."""

    def work(batch: dict[str, NDArray[np.object_]]) -> dict[str, list[object]]:
        done = [pack_shard(config, source, str(name), tokenizer_json, vocabulary, target) for name in batch["item"]]
        return {
            "name": list(batch["item"]),
            "rows": [p.rows for p in done],
            "tail": [p.tail for p in done],
            "refused": [p.refused for p in done],
            "counts": [p.counts_V.tobytes() for p in done],
            "digest": [p.digest for p in done],
        }

    shards = ray.data.from_items(names, override_num_blocks=len(names))
    try:
        for row in shards.map_batches(work, batch_size=1, num_cpus=0.5).iter_rows():
            yield (
                row["name"],
                _Packed(
                    rows=row["rows"],
                    tail=row["tail"],
                    refused=row["refused"],
                    counts_V=np.frombuffer(row["counts"], dtype=np.int64),
                    digest=row["digest"],
                ),
            )
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error


def pack_shard(
    config: TokensConfig, source: Folder, name: str, tokenizer_json: str, vocabulary: Vocabulary, target: Folder
) -> _Packed:
    """Pack one document shard into one Parquet file of blocks, in bounded memory."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
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
            encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            blocks_RL = packer.add([e.ids for e in encoded])
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
    return _Packed(rows=rows, tail=packer.tail, refused=refused, counts_V=counts_V, digest=digest.hexdigest())


def maskable(blocks_RL: NDArray[np.int32], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """How many positions of each block could be masked, (R,)."""
    return (~np.isin(blocks_RL, vocabulary.special_ids)).sum(axis=1)


def documents(source: Folder, name: str) -> Iterator[list[str]]:
    """The texts of one document shard, in lists of up to a thousand."""
    filesystem, path = filesystem_of((source / name).uri)
    with filesystem.open_input_file(path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=_DOCUMENTS_AT_ONCE, columns=["text"]):
            yield batch.column(0).to_pylist()


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
