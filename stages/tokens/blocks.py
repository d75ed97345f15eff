"""Packed blocks on storage: what the stage `tokens` makes, and what is trained and measured on."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.storage import Folder
from stages.tokens.unknown import NOTICE_RATE, complaint
from stages.tokens.vocabulary import Vocabulary


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
    text_unknown_rate: float = 0.0
    """Share of [UNK] among all the text's tokens, those of refused and of held-out blocks included."""
    unknown_words: tuple[str, ...] = ()
    """The commonest words that became [UNK], the commonest first."""
    heldout_rows: tuple[int, int] | None = None
    """Of the held-out blocks those to be scored on, from the first to before the second; None: all."""

    @property
    def rows(self) -> int:
        """The number of training blocks."""
        return sum(shard.rows for shard in self.shards)

    @property
    def figures(self) -> dict[str, float]:
        """What of the text cannot be learned from, by name."""
        return {
            "unknown_rate": max(self.unknown_rate, self.text_unknown_rate),  # one recorded before has only the first
            "refused_blocks": float(self.refused_blocks),
            "tail_tokens": float(self.tail_tokens),
        }

    @property
    def summary(self) -> str:
        """The same as a sentence for a person, with a reason to look at the text where much of it is unknown."""
        rate = self.figures["unknown_rate"]
        found = (
            f"tokens: {self.rows:,} blocks of {self.block_length}; {rate:.2%} of the text unknown, "
            f"{self.refused_blocks:,} blocks refused, {self.tail_tokens:,} tokens left over"
        )
        return f"{found}. {complaint(rate, self.unknown_words)}." if rate > NOTICE_RATE else f"{found}."

    def counts(self) -> NDArray[np.int64]:
        """How often each token id occurs in the training blocks, (V,)."""
        return np.load(io.BytesIO(self.folder.read_bytes("counts.npy")))
