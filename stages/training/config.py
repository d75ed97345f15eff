"""How a masked language model is trained, as a config says it; the training is `stages/training/driver.py`."""

from dataclasses import dataclass
from typing import Literal

from stages.context import not_fingerprinted
from stages.distillation.mask_options import MaskRate, ends_of
from stages.distillation.precision import Precision
from stages.errors import ConfigError
from stages.tokens.config import MAX_MASK_RATE


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How any language model is trained here. The defaults are the original DistilBERT's."""

    steps: int | None = None
    """Optimiser steps; None: as many as `epochs` take."""
    epochs: float = 3.0
    """Passes over the blocks; counts only where `steps` is None."""
    global_batch: int = 4096
    """Blocks per optimiser step, over all workers and micro-batches (the paper: up to 4,000 examples)."""
    micro_batch: int | Literal["auto"] = not_fingerprinted(16)
    """Blocks that one worker computes at a time; changes memory and speed only. auto: as many as fit, found once
    on a kind of card."""
    learning_rate: float = 5e-4
    """Peak of the schedule."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises; then it falls to zero, both linearly."""
    weight_decay: float = 0.0
    dropout: float = 0.1
    mask_rate: MaskRate = 0.15
    """Share of a block's positions that are masked; or the first epoch's and the last's, linear between: 0.3,0.15.
    Of no account, as `mask_smoothing`, where the teacher is a GPT-2, which predicts the next token."""
    mask_smoothing: float = 0.7
    """Tokens are chosen with probability ∝ count^-smoothing; 0 is uniform."""
    precision: Precision = "auto"
    """auto: bf16 where the hardware has it, fp16 with scaling on other GPUs, fp32 on other CPUs. fp64 is for
    comparing."""
    workers: int | tuple[int, int] = not_fingerprinted(1)
    """Training processes, one GPU each where `gpu` is set; or the fewest and the most, as many as there is room for:
    machines may come and go, and the same rows are learned from in every step."""
    gpu: bool | None = not_fingerprinted(None)
    """None: where the cluster has one."""
    threads: int | None = not_fingerprinted(None)
    """CPU threads a worker computes with; None: its machine's cores, shared among the workers on it."""
    cpus_per_worker: float | None = not_fingerprinted(None)
    """CPUs that a worker books from Ray; None: its share of half of the cluster's, 1 at most."""
    compile: bool | Literal["auto"] = not_fingerprinted("auto")
    """Whether torch.compile makes the models' blocks faster, which takes some tens of seconds at each start; auto: on a
    GPU with a C compiler beside it, for 1,000 steps or more."""
    gpu_share: float = not_fingerprinted(1.0)
    """Of a GPU that a worker books; below 1, several small trainings of one worker each share a GPU."""
    checkpoint_every: int = not_fingerprinted(500)
    """Optimiser steps between checkpoints."""
    keep_checkpoints: int = not_fingerprinted(2)
    """Newest checkpoints kept, beside the best."""
    evaluate_every: int = not_fingerprinted(500)
    """Optimiser steps between held-out evaluations."""
    evaluate_blocks: int = not_fingerprinted(128)
    """Held-out blocks of an evaluation on the way."""
    log_every: int = not_fingerprinted(10)
    """Optimiser steps between reports."""
    max_failures: int = not_fingerprinted(3)
    """Worker failures after which the run gives up; each continues from the newest checkpoint. -1: never."""
    max_skipped: int = not_fingerprinted(10)
    """Optimiser steps in a row with a gradient that is no finite number, after which the run gives up; nothing is
    learned from such a step."""
    on_damaged: Literal["refuse", "skip"] = "refuse"
    """What to do about a block shard that cannot be read: refuse to train, or leave it out and count it."""
    row_log: bool = not_fingerprinted(False)
    """Whether each worker writes the row numbers of every step into `rows/` of the stage's folder, for an audit."""

    def __post_init__(self) -> None:
        positive = "steps epochs global_batch micro_batch learning_rate threads cpus_per_worker log_every"
        for name in [
            *positive.split(),
            "max_skipped",
            "checkpoint_every",
            "evaluate_every",
            "evaluate_blocks",
            "keep_checkpoints",
        ]:
            value = getattr(self, name)
            if isinstance(value, int | float) and value <= 0:
                raise ConfigError(f"distil.{name}", value, "must be above 0")
        if not 0 < self.fewest_workers <= self.most_workers:
            rule = "must be above 0, or two such numbers, the fewest first: 2,8"
            raise ConfigError("distil.workers", self.workers, rule)
        for name in ("warmup", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"distil.{name}", getattr(self, name), "must be at least 0 and below 1")
        if not 0 < self.gpu_share <= 1 or (self.gpu_share < 1 and self.most_workers > 1):
            rule = "must be above 0 and at most 1, and 1 where there are several workers: NCCL takes one a GPU"
            raise ConfigError("distil.gpu_share", self.gpu_share, rule)
        if not all(0 < rate <= MAX_MASK_RATE for rate in ends_of(self.mask_rate)):
            rule = f"must be above 0 and at most {MAX_MASK_RATE}, or two such numbers, the first epoch's and the last's"
            raise ConfigError("distil.mask_rate", self.mask_rate, rule)

    @property
    def fewest_workers(self) -> int:
        """With which training still goes on."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int:
        """With which training begins where there is room."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    def total_steps(self, rows: int) -> int:
        """Optimiser steps of the whole run over `rows` blocks; whole steps of whole batches."""
        return self.steps or max(1, round(self.epochs * (rows // self.global_batch)))
