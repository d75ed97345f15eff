"""A trial: the very `distil` stage with another setting and a shorter schedule, in a process of its own."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray.tune

from pipeline.config.overrides import Scalar, override
from pipeline.records.reuse import Progress, Reuse, Silent, StageResult
from pipeline.tuning.budget import Budget
from pipeline.tuning.concurrency import Concurrency
from stages.distil.config import DistilConfig
from stages.distil.stage import distil
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all trials of a search have in common; sent to each of their processes."""

    folder: Folder
    """Where each trial has a folder for its checkpoints, until it is over."""
    distil: DistilConfig
    teacher: StageResult[Teacher]
    blocks: StageResult[Blocks]
    budget: Budget
    concurrency: Concurrency
    evaluate_blocks: int

    def folder_of(self, number: int) -> Folder:
        """A trial's own: two trials may have the same setting."""
        return self.folder / str(number)

    def config(self, setting: Mapping[str, Scalar]) -> DistilConfig:
        """The distil config of a trial. It reports, evaluates and saves at the same steps: what a killed search has
        been told of is in a checkpoint."""
        config = override(self.distil, [(name, str(value)) for name, value in setting.items()])
        length = self.blocks.artifact.block_length
        every = self.budget.every(config, length)
        return replace(
            self.concurrency.of(config),
            steps=self.budget.steps(config, length),
            log_every=every,
            evaluate_every=every,
            checkpoint_every=every,
            keep_checkpoints=1,
            evaluate_blocks=self.evaluate_blocks,
        )


def run(told: dict[str, Any], task: Task) -> None:
    """What Ray Tune calls, with the trial's number, seed and setting: distils, and reports every evaluation.

    A trial that was interrupted goes on from its checkpoint, and first repeats what it had reported there; so does one
    that was finished before the search had heard of it.
    """
    config = task.config(told["setting"])
    report = reporter(config, task.blocks.artifact.block_length)
    root = task.folder_of(told["number"])
    step = Reuse(root=root, seed=told["seed"], watch=Unwatched(), on_metrics=lambda _, s, m: report(s, m))
    promise = replace(step, plan=True, watch=Silent())(distil, config, task.teacher, task.blocks)
    if not promise.reused:
        step(distil, config, task.teacher, task.blocks)
        return
    for past in checkpoint.history(promise.folder / "checkpoints"):
        report(int(past["step"]), past)


def reporter(config: DistilConfig, block_length: int) -> Callable[[int, Mapping[str, float]], None]:
    """Passes on to Ray Tune what was evaluated; waits until the search has taken it in."""

    def report(step: int, metrics: Mapping[str, float]) -> None:
        if "heldout_mlm_loss" not in metrics:
            return
        values = {name: value for name, value in metrics.items() if name != "step"}
        if "heldout_agreement" in values:  # there is no teacher where no term of the loss asks for one
            values["heldout_disagreement"] = 1 - values["heldout_agreement"]
        if not all(map(math.isfinite, values.values())):
            raise FloatingPointError(f"at step {step} a metric is no number: {values}")
        tokens = step * config.global_batch * block_length
        ray.tune.report({"step": step, "steps": config.steps, "tokens": tokens, "metrics": values, **values})

    return report


class Unwatched:
    """Watches a trial's stage: what is to be said goes through Ray Tune."""

    @contextmanager
    def running(self, stage: str, why: tuple[str, ...]) -> Iterator[Progress]:
        """Runs it without a word."""
        yield lambda *_: None

    def reused(self, made: StageResult[Any]) -> None:
        """Nothing to say."""

    def planned(self, made: StageResult[Any]) -> None:
        """Nothing to say."""
