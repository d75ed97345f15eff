"""How documents become blocks, as a config says it."""

from dataclasses import dataclass

from stages.errors import ConfigError

MAX_MASK_RATE = 0.5
"""Packing refuses a block in which fewer than this share of the positions could be masked ([SEP] and [UNK] cannot)."""


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """How documents become blocks."""

    block_length: int = 512
    """Tokens in a block, [CLS] and the last [SEP] among them; at most the teacher's positions."""

    def __post_init__(self) -> None:
        if self.block_length < 8:
            raise ConfigError("tokens.block_length", self.block_length, "must be at least 8 tokens")
