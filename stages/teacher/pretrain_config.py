"""A BERT from nothing, as a config says it; the stages are in `stages/teacher/pretrain.py`."""

from dataclasses import dataclass
from typing import Literal

from stages.context import not_fingerprinted, since
from stages.distillation.mask_options import MaskUnit
from stages.errors import ConfigError
from stages.tokens.config import TokensConfig
from stages.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """A lower-case WordPiece vocabulary, learned from the corpus."""

    size: int = 8192
    positions: int = 128
    """The longest block that the model will read, recorded in the tokenizer."""


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """One phase of pre-training: a depth, a block length and how it is trained."""

    layers: int
    block_length: int
    width: int = 256
    heads: int = 8
    positions: int = 128
    packing: Literal["documents", "stream"] = since("documents", before="stream")
    """As in `TokensConfig`."""
    mask_unit: MaskUnit = since("token")
    """As in `TokensConfig`."""
    train: TrainConfig

    def __post_init__(self) -> None:
        if self.block_length > self.positions:
            rule = f"must be at most the model's {self.positions} positions"
            raise ConfigError("pretrain.phases.block_length", self.block_length, rule)

    def tokens(self) -> TokensConfig:
        """How this phase's blocks are packed."""
        return TokensConfig(block_length=self.block_length, packing=self.packing, mask_unit=self.mask_unit)


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig:
    """How a pre-trained model is handed over."""

    blocks: int = 1024
    """Held-out blocks that it is scored on, at most."""
    micro_batch: int = not_fingerprinted(16)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A BERT from nothing: its vocabulary, then its phases, each starting from the one before."""

    vocabulary: VocabularyConfig
    phases: tuple[PhaseConfig, ...]
    release: ReleaseConfig

    def __post_init__(self) -> None:
        if not self.phases:
            raise ConfigError("pretrain.phases", self.phases, "must hold at least one phase")
