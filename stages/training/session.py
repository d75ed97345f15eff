"""What a worker holds while it trains."""

from dataclasses import dataclass, field

import torch
from torch import nn

from stages.distillation.data.next_token import Rule
from stages.distillation.families.family import LanguageModel
from stages.distillation.step import Arithmetic, Counts
from stages.evaluation.heldout import Heldout
from stages.training.channel import ChannelWriter
from stages.training.checkpoints.checkpoint import TrainState
from stages.training.checkpoints.writer import CheckpointWriter
from stages.training.job import Job


@dataclass
class Session:
    """What a worker holds while it trains."""

    job: Job
    channel: ChannelWriter
    rank: int
    workers: int
    arithmetic: Arithmetic
    module: nn.Module
    """The `DistillationModule`, inside DDP where there are several workers."""
    model: LanguageModel
    teacher: LanguageModel | None
    optimizer: torch.optim.Optimizer
    rule: Rule
    held: Heldout | None
    """On rank 0 only."""
    state: TrainState
    saved_step: int
    """Of the newest whole checkpoint; kept up to date on rank 0."""
    ask_every: int = 1
    """Steps between two times that several workers ask one another whether to stop: about a second's."""
    writer: CheckpointWriter = field(default_factory=CheckpointWriter)

    def counts(self, step: int) -> Counts:
        """Of the global batch that optimiser step `step` (from 0) learns from: by the plan alone."""
        plan = self.job.plan
        return Counts(
            positions=plan.global_batch * self.job.blocks.block_length,
            masked=plan.global_batch * self.rule.masked(plan.epoch_of(step)),
            workers=self.workers,
        )
