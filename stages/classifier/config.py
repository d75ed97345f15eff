"""Which fine-tuned model is made smaller, and how; the stages are `fetch.py`, `stage.py` and `publish.py`."""

from dataclasses import dataclass, field

from stages.distillation.models.layers import Layers
from stages.errors import ConfigError
from stages.tasks.config import FineTuningConfig
from stages.teacher.config import TeacherConfig


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """The fine-tuned model, which is the teacher."""

    model: str
    """A hub name or a folder, with the head that it was fine-tuned with."""
    revision: str = "main"
    """Branch, tag or commit, where `model` is a hub name."""

    @property
    def as_teacher(self) -> TeacherConfig:
        """The same as those take it that find a teacher's files."""
        return TeacherConfig(model=self.model, revision=self.revision)


@dataclass(frozen=True, kw_only=True)
class ShrinkConfig:
    """What the student is made of, and how it learns the task."""

    task: str
    """A labelled task, as `stages/tasks/data/specs.py` reads it."""
    layers: Layers = "alternate"
    """Teacher blocks the student starts from: "alternate" (0, 2, 4, …), "released" (0, 2, 4, 7, 9, 11), how many, or
    which."""
    alpha: float = 0.5
    """Weight of what the teacher says, the labels having 1 − alpha."""
    temperature: float = 2.0
    """T of the softened cross-entropy between teacher and student; of a number there is none."""
    fine_tuning: FineTuningConfig = field(default_factory=FineTuningConfig)
    """The rules. Where several settings or seeds are asked for, all learn from train but for `inner_share` of it, by
    which the student that is kept is chosen."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError("shrink.alpha", self.alpha, "must be from 0 to 1")
        if self.temperature <= 0:
            raise ConfigError("shrink.temperature", self.temperature, "must be above 0")

    @property
    def chooses(self) -> bool:
        """Whether one of several students is kept, for which a part of train is kept back."""
        rules = self.fine_tuning
        return rules.seeds * len(rules.learning_rates) * len(rules.epochs) > 1
