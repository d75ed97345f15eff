"""Results of labelled tasks, with plain numbers."""

from collections.abc import Mapping
from typing import Any

from stages.tasks.artifact import STUDENT, TEACHER, ModelOnTask, TaskResult


def a_model(score: float) -> ModelOnTask:
    """One that was fine-tuned with one seed."""
    return ModelOnTask(
        score=score,
        by_seed=(score,),
        others={},
        kept=score,
        interval=(score, score),
        difference=(0.0, 0.0, 0.0),
        learning_rate=1e-4,
        epochs=3,
        seconds=2.0,
    )


def a_task(name: str, others: Mapping[str, float] | None = None, **other: Any) -> TaskResult:
    """A task with these figures, but for what is given; `others`: further models' scores."""
    fields: dict[str, Any] = {
        "metric": "accuracy",
        "kind": "classes",
        "n": 872,
        "train": 8000,
        "seeds": 3,
        "teacher": 0.9243,
        "student": 0.9014,
        "kept": 0.9752,
        "interval": (0.9581, 0.9903),
    }
    fields |= other
    beside = {"student at step 0": 0.8211} if others is None else others
    scores = {TEACHER: fields["teacher"], STUDENT: fields["student"], **beside}
    return TaskResult(name=name, models={model: a_model(score) for model, score in scores.items()}, **fields)


TASKS = {
    "sst2": a_task("sst2"),
    "stsb": a_task("stsb", metric="pearson", kind="number", n=1500, teacher=0.88, student=0.86, kept=0.9773),
    "entities": a_task("entities", metric="span_f1", kind="tokens", n=52, seeds=1, interval=(0.8, 1.08), others={}),
}
