"""Which labelled tasks teacher and student are fine-tuned on, and the rules; the stage is `stages/tasks/stage.py`."""

from dataclasses import dataclass
from typing import Literal

from stages.context import not_fingerprinted
from stages.distillation.precision import Precision
from stages.errors import ConfigError

Baseline = Literal["start", "untaught", "untaught_same_time"]
"""start: the student at step 0; untaught: one of the same start that learned from the same batches without a teacher;
untaught_same_time: the same, for as long as the student learned."""


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """The rules, which are the same for every model: those that BERT was fine-tuned by (Devlin et al. 2019, A.3)."""

    learning_rates: tuple[float, ...] = (2e-5, 5e-5, 1e-4)
    """Peaks of the schedule that are tried; which of them a model gets is decided on a part of train."""
    epochs: tuple[int, ...] = (3,)
    """Passes over train that are tried, each with every learning rate."""
    seeds: int = 3
    """Fine-tunings of a model at the setting chosen: of its new head, the order of examples and dropout. A model's
    figure is the median."""
    batch: int = 32
    """Examples per optimiser step."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises; then it falls to zero, both linearly."""
    weight_decay: float = 0.01
    dropout: float = 0.1
    """Of all of a model's dropouts, whatever its own config says."""
    max_tokens: int = 256
    """What of an example is longer is cut off, and counted; never more than a model has positions."""
    inner_share: float = 0.1
    """Of train, by which a setting is chosen where there are several; 2,000 examples at most, never dev."""
    train_examples: int | None = None
    """At most, drawn by the seed; None: all there are."""
    dev_examples: int | None = None
    """At most, drawn by the seed; None: all there are."""
    precision: Precision = "auto"
    cpus: int = not_fingerprinted(1)
    """CPUs, and threads, of one fine-tuning; as many run at once as there is room for."""

    def __post_init__(self) -> None:
        for name in ("learning_rates", "epochs"):
            values: tuple[float, ...] = getattr(self, name)
            if not values or min(values) <= 0:
                raise ConfigError(f"evaluate.fine_tuning.{name}", values, "must be numbers above 0, one or more")
        for name in ("seeds", "batch", "max_tokens", "train_examples", "dev_examples", "cpus"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"evaluate.fine_tuning.{name}", value, "must be above 0")
        for name in ("warmup", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"evaluate.fine_tuning.{name}", getattr(self, name), "must be at least 0, below 1")
        if not 0 < self.inner_share <= 0.5:
            raise ConfigError("evaluate.fine_tuning.inner_share", self.inner_share, "must be above 0 and at most 0.5")

    def told_of_cut(self, cut: int, examples: int) -> tuple[str, ...]:
        """A sentence where something was cut off of `cut` of the examples that were learned from."""
        too_long = f"were longer than {self.max_tokens} tokens, or than a model reads"
        return (f"{cut} of {examples} examples {too_long}.",) if cut else ()


@dataclass(frozen=True, kw_only=True)
class SecondStepConfig:
    """The second step of distillation: the student is fine-tuned on what the fine-tuned teacher says, beside the labels
    (DistilBERT, section 3, "DistilBERT (D)"; TinyBERT's task stage)."""

    temperature: float = 2.0
    """T of the softened cross-entropy between the two; of a number there is none."""
    alpha: float = 0.0
    """Weight of what the teacher says, the labels having 1 − alpha; 0: there is no second step. 0.5 is a good start."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ConfigError("evaluate.second_step.temperature", self.temperature, "must be above 0")
        if not 0 <= self.alpha <= 1:
            raise ConfigError("evaluate.second_step.alpha", self.alpha, "must be from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """What the stage reads."""

    tasks: tuple[str, ...]
    """Each as `stages/tasks/data/specs.py` reads it."""
    fine_tuning: FineTuningConfig
    second_step: SecondStepConfig | None
    baselines: tuple[Baseline, ...]
