"""What fine-tuning teacher and student on labelled tasks comes to."""

from dataclasses import dataclass

from stages.storage import Folder
from stages.tasks.task import Kind

TEACHER, STUDENT = "teacher", "student"
"""Names among the models."""


@dataclass(frozen=True, kw_only=True)
class ModelOnTask:
    """One model on one task, at the setting that was chosen for it."""

    score: float
    """By the task's metric, in its own unit (0 to 1, or −1 to 1): the median over the seeds."""
    by_seed: tuple[float, ...]
    others: dict[str, float]
    """By the task's further metrics, medians too."""
    kept: float
    """Its score / the teacher's; 0 where the teacher itself knows nothing."""
    interval: tuple[float, float]
    """Of `kept`: 95 % over examples and seeds."""
    difference: tuple[float, float, float]
    """Its score − the student's: the middle, and the 95 % interval, over examples and seeds."""
    learning_rate: float
    epochs: int
    seconds: float
    """Of one fine-tuning, the median."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task: the student beside its teacher, and beside whatever else was asked for."""

    name: str
    metric: str
    """Such as "accuracy", "mcc" or "span_f1"; higher is better in all of them."""
    kind: Kind
    n: int
    """Examples that were scored."""
    train: int
    """Examples that were learned from."""
    seeds: int
    """Fine-tunings of each model."""
    teacher: float
    student: float
    kept: float
    """Student's score / teacher's."""
    interval: tuple[float, float]
    """Of `kept`: 95 % over examples and seeds."""
    models: dict[str, ModelOnTask]
    """All that were compared, teacher and student among them, by name."""
    notes: tuple[str, ...] = ()
    """Sentences for a person: what was guessed of the data, cut off or left out."""

    @property
    def others(self) -> dict[str, float]:
        """The scores of whatever else was compared, by name."""
        return {name: model.score for name, model in self.models.items() if name not in (TEACHER, STUDENT)}


@dataclass(frozen=True, kw_only=True)
class TaskTable:
    """All tasks of a run. `answers.json` in the folder has each model's answers to each task's dev, by seed."""

    folder: Folder
    results: tuple[TaskResult, ...]

    def by_name(self) -> dict[str, TaskResult]:
        """Task by task, in the order in which they were asked for."""
        return {result.name: result for result in self.results}
