"""Which model is distilled, as a config says it; the stage is `stages/teacher/stage.py`."""

from dataclasses import dataclass, field

from stages.errors import ConfigError
from stages.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Which model is distilled."""

    model: str = "google-bert/bert-base-uncased"
    """A hub name, a folder, or "demo": the small BERT that comes with this project."""
    revision: str = "main"
    """Branch, tag or commit, where `model` is a hub name."""
    adapt_steps: int = 0
    """Steps of its own objective that the teacher takes on the corpus first; 0: it is used as it is."""
    adapt: TrainConfig = field(default_factory=lambda: TrainConfig(learning_rate=5e-5, global_batch=256))
    """How it is adapted, where `adapt_steps` is above 0."""

    def __post_init__(self) -> None:
        if self.adapt_steps < 0:
            raise ConfigError("teacher.adapt_steps", self.adapt_steps, "must not be negative")
