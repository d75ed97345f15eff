"""Documents to packed blocks: the teacher's own tokenizer, packing, Parquet, and vocabulary counts.

One Ray Data task a document shard: `packing/tasks.py`.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.context import StageContext, stage
from stages.corpus.artifact import Corpus
from stages.errors import InputError
from stages.storage import Folder
from stages.tokens.blocks import Blocks, Shard
from stages.tokens.config import TokensConfig
from stages.tokens.loading import load_tokenizer
from stages.tokens.packing.shard import Packed
from stages.tokens.packing.tasks import Work, pack_all
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
    """Tokenise and pack a corpus, one Ray Data task a document shard; what was packed when it was stopped is not packed
    again. `InputError` where nothing is left."""
    tokenizer_json = source.folder.read_bytes("tokenizer.json").decode()
    with TemporaryDirectory() as local:
        source.folder.copy_to(Path(local), TOKENIZER_FILES)
        vocabulary = vocabulary_of(load_tokenizer(local), causal=source.objective == "causal")
    work = Work(
        config=config,
        corpus=corpus,
        tokenizer_json=tokenizer_json,
        vocabulary=vocabulary,
        target=context.folder,
    )
    found = Found(training=frozenset(corpus.shards), counts_V=np.zeros(vocabulary.size, dtype=np.int64))
    for name, packed in pack_all(work, context):
        found.take(name, packed)
        context.on_progress(len(found.packed), len(work.names), "shards")
    blocks = _blocks(work, found)
    buffer = io.BytesIO()
    np.save(buffer, found.counts_V)
    context.folder.write_bytes("counts.npy", buffer.getvalue())
    context.on_metrics(0, blocks.figures)
    context.on_notice(blocks.summary)
    return blocks


@dataclass(kw_only=True)
class Found:
    """What the tasks found, added up as they end: of a shard no more than some numbers are kept."""

    training: frozenset[str]
    """The names of the shards to train on."""
    counts_V: NDArray[np.int64]
    """Of the training shards."""
    packed: dict[str, Packed] = field(default_factory=dict)
    """By name, without what is added up here."""
    unknown_words: Counter[str] = field(default_factory=Counter)

    def take(self, name: str, packed: Packed) -> None:
        """Add one shard's."""
        if name in self.training:
            self.counts_V += packed.counts_V
        self.unknown_words.update(packed.unknown_words)
        self.packed[name] = replace(packed, counts_V=np.empty(0, np.int64), unknown_words={})

    def of(self, names: Iterable[str]) -> list[tuple[str, Packed]]:
        """These shards, in this order."""
        return [(name, self.packed[name]) for name in names]


def _blocks(work: Work, found: Found) -> Blocks:
    config, vocabulary, counts_V = work.config, work.vocabulary, found.counts_V
    train, held = found.of(work.corpus.shards), found.of(work.corpus.heldout_shards)
    every = list(found.packed.values())
    return Blocks(
        folder=work.target,
        shards=_some(train, config, "training", found),
        heldout=_some(held, config, "held-out", found),
        block_length=config.block_length,
        vocabulary=vocabulary,
        tokens=sum(p.kept for _, p in train),
        heldout_tokens=sum(p.kept for _, p in held),
        tail_tokens=sum(p.tail for p in every),
        refused_blocks=sum(p.refused for p in every),
        unknown_rate=0.0 if (unk := vocabulary.unk_id) is None else float(counts_V[unk] / max(1, counts_V.sum())),
        heldout_digest=hashlib.sha256("".join(p.digest for _, p in held).encode()).hexdigest(),
        text_unknown_rate=_unknown_rate(every),
        unknown_words=commonest(found.unknown_words),
        packing=config.packing,
        mask_unit=config.mask_unit,
        tokens_per_word=_tokens_per_word(counts_V, vocabulary, sum(p.words for _, p in train)),
    )


def _some(packed: list[tuple[str, Packed]], config: TokensConfig, part: str, found: Found) -> tuple[Shard, ...]:
    shards = tuple(Shard(name=name, rows=p.rows, half=p.half) for name, p in packed if p.rows)
    if not shards:
        raise InputError(_why_none([p for _, p in packed], config, part, found.unknown_words))
    return shards


def _tokens_per_word(counts_V: NDArray[np.int64], vocabulary: Vocabulary, words: int) -> float:
    return float(counts_V.sum() - counts_V[list(vocabulary.special_ids)].sum()) / words if words else 0.0


def _unknown_rate(packed: Collection[Packed]) -> float:
    return sum(p.unknown for p in packed) / max(1, sum(p.tokens for p in packed))


def _why_none(packed: list[Packed], config: TokensConfig, part: str, unknown: Mapping[str, int]) -> str:
    """Why no block is left: too little text, or text of which too little could be masked."""
    found = f"the corpus has no {part} block of {config.block_length} tokens"
    refused, rate = sum(p.refused for p in packed), _unknown_rate(packed)
    if refused:
        found += f": {refused:,} were refused, since fewer than half of their tokens could be masked"
    if rate > NOTICE_RATE:
        return f"{found}; {complaint(rate, commonest(unknown))}."
    if refused:
        return f"{found}; special tokens, and the one after each document, cannot be."
    return f"{found}; give more text, or lower tokens.block_length."
