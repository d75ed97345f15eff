"""A training as its workers are told of it: what is learned from what, in which order, and where it is kept."""

from dataclasses import dataclass
from typing import Any

from stages.distillation.data.data_order import Plan
from stages.distillation.losses.weights import LossWeights
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """What is learned, and from what."""

    start: Folder
    """A transformers folder, tokenizer included, with the weights that training starts from."""
    teacher: Folder | None
    """The teacher's folder; None where no term of the loss asks for it."""
    weights: LossWeights


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker is told. It is the same for all workers; rank and world size come from Ray Train."""

    task: TrainingTask
    config: TrainConfig
    plan: Plan
    blocks: Blocks
    folder: Folder
    seed: int
    use_gpu: bool
    channel: Any = None
    """The actor that takes what the workers report (see `stages/training/channel.py`)."""
