"""Documents to packed blocks: the teacher's own tokenizer, packing, Parquet, and vocabulary counts.

One Ray Data task a document shard; `packing.py` is such a task.
"""

import hashlib
import io
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

import numpy as np
import ray
from numpy.typing import NDArray

from stages.context import StageContext, stage
from stages.corpus.artifact import Corpus
from stages.errors import InputError, unwrap
from stages.storage import Folder
from stages.tokens.blocks import Blocks, Shard
from stages.tokens.config import TokensConfig
from stages.tokens.loading import load_tokenizer
from stages.tokens.packing.shard import Packed, pack_shard
from stages.tokens.unknown import NOTICE_RATE, commonest, complaint
from stages.tokens.vocabulary import TOKENIZER_FILES, Vocabulary, vocabulary_of


class HasTokenizer(Protocol):
    """A teacher, or a tokenizer that has no model yet: a folder with `tokenizer.json` in it."""

    @property
    def folder(self) -> Folder:
        """Where `tokenizer.json` lies."""

    @property
    def objective(self) -> Literal["masked", "causal"]:
        """What the model was, or is going to be, taught."""


@stage(name="tokens", version=1)
def pack(config: TokensConfig, corpus: Corpus, source: HasTokenizer, context: StageContext) -> Blocks:
    """Tokenise and pack a corpus, one Ray Data task a document shard; `InputError` where nothing is left."""
    tokenizer_json = source.folder.read_bytes("tokenizer.json").decode()
    with TemporaryDirectory() as local:
        source.folder.copy_to(Path(local), TOKENIZER_FILES)
        vocabulary = vocabulary_of(load_tokenizer(local), causal=source.objective == "causal")
    names = [*corpus.shards, *corpus.heldout_shards]
    packed: dict[str, Packed] = {}
    for name, result in _pack_all(config, corpus, names, tokenizer_json, vocabulary, context.folder):
        packed[name] = result
        context.on_progress(len(packed), len(names), "shards")
    train, held = ([(n, packed[n]) for n in part] for part in (corpus.shards, corpus.heldout_shards))
    counts_V = sum((p.counts_V for _, p in train), np.zeros(vocabulary.size, dtype=np.int64))
    buffer = io.BytesIO()
    np.save(buffer, counts_V)
    context.folder.write_bytes("counts.npy", buffer.getvalue())
    blocks = Blocks(
        folder=context.folder,
        shards=_some(train, config, "training"),
        heldout=_some(held, config, "held-out"),
        block_length=config.block_length,
        vocabulary=vocabulary,
        tokens=sum(p.kept for _, p in train),
        heldout_tokens=sum(p.kept for _, p in held),
        tail_tokens=sum(p.tail for p in packed.values()),
        refused_blocks=sum(p.refused for p in packed.values()),
        unknown_rate=0.0 if (unk := vocabulary.unk_id) is None else float(counts_V[unk] / max(1, counts_V.sum())),
        heldout_digest=hashlib.sha256("".join(p.digest for _, p in held).encode()).hexdigest(),
        text_unknown_rate=_unknown_rate(packed.values()),
        unknown_words=commonest([p.unknown_words for p in packed.values()]),
        packing=config.packing,
        mask_unit=config.mask_unit,
        tokens_per_word=_tokens_per_word(counts_V, vocabulary, sum(p.words for _, p in train)),
    )
    context.on_metrics(0, blocks.figures)
    context.on_notice(blocks.summary)
    return blocks


def _some(packed: list[tuple[str, Packed]], config: TokensConfig, part: str) -> tuple[Shard, ...]:
    shards = tuple(Shard(name=name, rows=p.rows, half=p.half) for name, p in packed if p.rows)
    if not shards:
        raise InputError(_why_none([p for _, p in packed], config, part))
    return shards


def _tokens_per_word(counts_V: NDArray[np.int64], vocabulary: Vocabulary, words: int) -> float:
    return float(counts_V.sum() - counts_V[list(vocabulary.special_ids)].sum()) / words if words else 0.0


def _unknown_rate(packed: Collection[Packed]) -> float:
    return sum(p.unknown for p in packed) / max(1, sum(p.tokens for p in packed))


def _why_none(packed: list[Packed], config: TokensConfig, part: str) -> str:
    """Why no block is left: too little text, or text of which too little could be masked."""
    found = f"the corpus has no {part} block of {config.block_length} tokens"
    refused, rate = sum(p.refused for p in packed), _unknown_rate(packed)
    if refused:
        found += f": {refused:,} were refused, since fewer than half of their tokens could be masked"
    if rate > NOTICE_RATE:
        return f"{found}; {complaint(rate, commonest([p.unknown_words for p in packed]))}."
    if refused:
        return f"{found}; special tokens, and the one after each document, cannot be."
    return f"{found}; give more text, or lower tokens.block_length."


def _pack_all(
    config: TokensConfig,
    corpus: Corpus,
    names: list[str],
    tokenizer_json: str,
    vocabulary: Vocabulary,
    target: Folder,
) -> Iterator[tuple[str, Packed]]:
    """Run `pack_shard` over all shards as a Ray Data stream; yields as they finish."""

    def work(batch: dict[str, NDArray[np.object_]]) -> dict[str, list[object]]:
        done = [
            pack_shard(
                config,
                corpus.folder,
                str(name),
                tokenizer_json,
                vocabulary,
                target,
                corpus.language,
                halved=config.packing == "documents" and name in corpus.heldout_shards,
            )
            for name in batch["item"]
        ]
        return {
            "name": list(batch["item"]),
            "rows": [p.rows for p in done],
            "half": [p.half or 0 for p in done],
            "kept": [p.kept for p in done],
            "tail": [p.tail for p in done],
            "refused": [p.refused for p in done],
            "counts": [p.counts_V.tobytes() for p in done],
            "digest": [p.digest for p in done],
            "tokens": [p.tokens for p in done],
            "unknown": [p.unknown for p in done],
            "unknown_words": [json.dumps(p.unknown_words) for p in done],
            "words": [p.words for p in done],
        }

    shards = ray.data.from_items(names, override_num_blocks=len(names))
    try:
        for row in shards.map_batches(work, batch_size=1, num_cpus=0.5).iter_rows():
            yield (
                row["name"],
                Packed(
                    rows=row["rows"],
                    half=row["half"] or None,
                    kept=row["kept"],
                    tail=row["tail"],
                    refused=row["refused"],
                    counts_V=np.frombuffer(row["counts"], dtype=np.int64),
                    digest=row["digest"],
                    tokens=row["tokens"],
                    unknown=row["unknown"],
                    unknown_words=json.loads(row["unknown_words"]),
                    words=row["words"],
                ),
            )
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error
