"""What a worker holds while it trains."""

from dataclasses import dataclass, field

import torch
from torch import nn

from stages.checkpoint import TrainState
from stages.distillation.anatomy import MaskedLM
from stages.distillation.masking import MaskRule
from stages.distillation.step import Arithmetic, Counts
from stages.heldout import Heldout
from stages.job import Job
from stages.mail import Post
from stages.saving import Saver


@dataclass
class Session:
    """What a worker holds while it trains."""

    job: Job
    post: Post
    rank: int
    workers: int
    arithmetic: Arithmetic
    learner: nn.Module
    """The `Learner`, inside DDP where there are several workers."""
    model: MaskedLM
    teacher: MaskedLM | None
    optimizer: torch.optim.Optimizer
    rule: MaskRule
    counts: Counts
    held: Heldout | None
    """On rank 0 only."""
    state: TrainState
    saved_step: int
    """Of the newest whole checkpoint; kept up to date on rank 0."""
    ask_every: int = 1
    """Steps between two times that several workers ask one another whether to stop: about a second's."""
    saver: Saver = field(default_factory=Saver)
