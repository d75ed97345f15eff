"""How teacher and student are measured, as a config says it; the stage is `stages/evaluation/stage.py`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stages.context import not_fingerprinted
from stages.errors import ConfigError
from stages.tasks.config import Baseline, FineTuningConfig, SecondStepConfig, TasksConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How much held-out text, and how latency is timed; and on which labelled tasks the models are fine-tuned.

    What is said of tasks bears on their own stage alone, which gets it from `on_tasks`.
    """

    blocks: int = 1024
    """Held-out blocks at most, spread evenly over the held-out text."""
    micro_batch: int = not_fingerprinted(16)
    latency_rounds: int = 30
    """Forward passes timed for each model, in turns."""
    tasks: tuple[str, ...] = not_fingerprinted(())
    """Labelled tasks on which teacher and student are fine-tuned: names such as sst2, or files such as
    mine.csv:text=question,label=intent (docs/tasks.md)."""
    fine_tuning: FineTuningConfig = not_fingerprinted(FineTuningConfig())
    second_step: SecondStepConfig = not_fingerprinted(SecondStepConfig())
    baselines: tuple[Baseline, ...] = not_fingerprinted(())
    """What else is fine-tuned beside them. start: the student at step 0; untaught: one that learned from the same text
    without a teacher; untaught_same_time: and for as long as the student did."""

    def __post_init__(self) -> None:
        for name in ("blocks", "micro_batch", "latency_rounds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"evaluate.{name}", getattr(self, name), "must be above 0")
        object.__setattr__(self, "tasks", tuple(_whole(self.tasks)))

    def on_tasks(self) -> TasksConfig:
        """The part of this config that the tasks stage reads."""
        second = self.second_step if self.second_step.alpha else None
        return TasksConfig(tasks=self.tasks, fine_tuning=self.fine_tuning, second_step=second, baselines=self.baselines)


def _whole(words: tuple[str, ...]) -> Iterator[str]:
    """Tasks whose columns were taken for tasks of their own, as a list is separated by commas too: `label=intent` is a
    part of what stands before it."""
    task = ""
    for word in words:
        if task and re.match(r"[a-z_]+=", word):
            task = f"{task},{word}"
            continue
        if task:
            yield task
        task = word
    if task:
        yield task
