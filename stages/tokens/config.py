"""How documents become blocks, as a config says it."""

from dataclasses import dataclass
from typing import Literal

from stages.context import since
from stages.distillation.mask_options import MaskUnit
from stages.errors import ConfigError

MAX_MASK_RATE = 0.5
"""Packing refuses a block in which fewer than this share of the positions could be masked (special tokens cannot)."""


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """How documents become blocks."""

    block_length: int = 512
    """Tokens in a block, start and end tokens among them; at most the teacher's positions."""
    packing: Literal["documents", "stream"] = since("documents", before="stream")
    """documents: each document is read by itself, start and end token around it, as most teachers are taught; several
    share a block. stream: documents run on, joined by the token that ends one, and attend to one another: for teachers
    taught so."""
    mask_unit: MaskUnit = since("token")
    """What is masked together: tokens one by one, whole words, or spans of words as SpanBERT's. Words are the
    tokenizer's own, and where `corpus.language` is zh jieba's; their borders are kept in the blocks. Held-out text is
    always masked token by token, so that any two runs compare."""

    def __post_init__(self) -> None:
        if self.block_length < 8:
            raise ConfigError("tokens.block_length", self.block_length, "must be at least 8 tokens")
