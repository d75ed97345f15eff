"""Packed blocks on storage: what the stage `tokens` makes, and what is trained and measured on."""

import io
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.distillation.mask_options import MaskUnit
from stages.storage import Folder
from stages.tokens.unknown import NOTICE_RATE, complaint
from stages.tokens.vocabulary import Vocabulary

FEWEST, MOST = 1.01, 10.0
"""Tokens a word outside of which a run says that its words are none: English has 1.2 in BERT's vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A Parquet file of blocks, by its path within the blocks' folder."""

    name: str
    rows: int
    half: int | None = None
    """Where no document lies on both sides: about the middle row of a held-out shard in the packing `documents`."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Packed blocks on storage: each file has a column `ids`, lists of `block_length` int32, in the packing `documents`
    one of `segments`, as many int16, and unless tokens are masked one by one, one of `words`, as many uint8 (see
    `Rows`). Row numbers run through `shards` in order from 0; `counts.npy` in the folder counts every token id of the
    training blocks, padding left out."""

    folder: Folder
    shards: tuple[Shard, ...]
    heldout: tuple[Shard, ...]
    block_length: int
    vocabulary: Vocabulary
    tokens: int
    """In the training blocks, padding left out."""
    heldout_tokens: int
    tail_tokens: int
    """Tokens at the ends of shards that filled no block, dropped."""
    refused_blocks: int
    unknown_rate: float
    """Share of [UNK] among the training tokens."""
    heldout_digest: str
    """SHA-256 over the held-out blocks: two evaluations are comparable where it is equal."""
    text_unknown_rate: float = 0.0
    """Share of [UNK] among all the text's tokens, those of refused and of held-out blocks included."""
    unknown_words: tuple[str, ...] = ()
    """The commonest words that became [UNK], the commonest first."""
    packing: Literal["documents", "stream"] = "stream"
    """As `TokensConfig` says it; a record from before there was another says nothing of it."""
    mask_unit: MaskUnit = "token"
    """The same."""
    tokens_per_word: float = 0.0
    """On average in the training blocks, special tokens left out; 0 where tokens are masked one by one."""
    heldout_rows: tuple[int, int] | None = None
    """Of the held-out blocks those to be scored on, from the first to before the second; None: all."""

    @property
    def rows(self) -> int:
        """The number of training blocks."""
        return sum(shard.rows for shard in self.shards)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the files."""
        segments = ("segments",) if self.packing == "documents" else ()
        return ("ids", *segments, *(() if self.mask_unit == "token" else ("words",)))

    def only(self, shards: tuple[Shard, ...]) -> "Blocks":
        """With these training shards alone, which are about as full as all of them."""
        rows = sum(shard.rows for shard in shards)
        return replace(self, shards=shards, tokens=round(self.fill * rows * self.block_length))

    @property
    def fill(self) -> float:
        """Share of the training blocks' positions that are no padding."""
        return self.tokens / max(1, self.rows * self.block_length)

    @property
    def heldout_fill(self) -> float:
        """The same of the held-out blocks."""
        return self.heldout_tokens / max(1, sum(shard.rows for shard in self.heldout) * self.block_length)

    @property
    def figures(self) -> dict[str, float]:
        """What of the text cannot be learned from, by name."""
        return {
            "unknown_rate": max(self.unknown_rate, self.text_unknown_rate),  # one recorded before has only the first
            "refused_blocks": float(self.refused_blocks),
            "tail_tokens": float(self.tail_tokens),
            "fill": self.fill,
        } | ({} if self.mask_unit == "token" else {"tokens_per_word": self.tokens_per_word})

    @property
    def summary(self) -> str:
        """The same as a sentence for a person, with a reason to look at the text where much of it is unknown."""
        rate = self.figures["unknown_rate"]
        found = (
            f"tokens: {self.rows:,} blocks of {self.block_length}, {self.fill:.1%} full; "
            f"{rate:.2%} of the text unknown, {self.refused_blocks:,} blocks refused, "
            f"{self.tail_tokens:,} tokens left over"
        )
        if self.mask_unit != "token":
            found += f", {self.tokens_per_word:.2f} tokens a word{_about_words(self.tokens_per_word)}"
        return f"{found}. {complaint(rate, self.unknown_words)}." if rate > NOTICE_RATE else f"{found}."

    def counts(self) -> NDArray[np.int64]:
        """How often each token id occurs in the training blocks, (V,)."""
        return np.load(io.BytesIO(self.folder.read_bytes("counts.npy")))


def _about_words(tokens_per_word: float) -> str:
    """What to look at where the words are hardly what a person would call so."""
    if tokens_per_word < FEWEST:
        return ": hardly a word has two; where the text is Chinese, set corpus.language zh"
    return ": the tokenizer marks no words; set tokens.mask_unit token" if tokens_per_word > MOST else ""
