"""From Ray Tune's events to the ledger and to MLflow; in the driver, one event after the other."""

import time
from pathlib import Path
from typing import Any

import ray.tune
from ray import cloudpickle
from ray.tune.experiment import Trial as RayTrial

from pipeline.tracking.delivery import first_line
from pipeline.tuning.ledger import Ledger, Report, State
from pipeline.tuning.tracking.runs import Children
from pipeline.tuning.trial import Task


class TrialEvents(ray.tune.Callback):
    """Writes down what becomes of each trial, first into the ledger."""

    def __init__(self, task: Task, ledger: Ledger, children: Children, parents: Ledger | None = None) -> None:
        """`parents`: the trials that those in `ledger` confirm."""
        self.task, self.ledger, self.children, self.parents = task, ledger, children, parents
        self.since: dict[int, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune keeps a pickled copy of its callbacks, and a connection to MLflow cannot be pickled."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """A run in MLflow, or the one it had before it was interrupted."""
        number = trial.config["number"]
        self.since[number] = time.monotonic()
        here = self.ledger[number]
        parent = None if self.parents is None or here.confirms is None else self.parents[here.confirms].run_id
        self.ledger.started(number, self.children.started(here, parent=parent))

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """An evaluation; the same step again, from a trial that was continued, is nothing new."""
        number = trial.config["number"]
        report = Report(step=result["step"], tokens=result["tokens"], metrics=dict(result["metrics"]))
        if self.ledger.report(number, report):
            self.children.report(self.ledger[number], report)

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """It came to its end, or was stopped."""
        last = trial.last_result
        if "step" not in last:
            self._end(trial, "failed", "it ended before its first evaluation")
        else:
            self._end(trial, "completed" if last["step"] >= last["steps"] else "stopped early")

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """It failed; the search goes on."""
        self._end(trial, "failed", reason(trial))

    def _end(self, trial: RayTrial, state: State, why: str = "") -> None:
        number = trial.config["number"]
        seconds = time.monotonic() - self.since.get(number, time.monotonic())
        self.children.ended(self.ledger.end(number, state, seconds=seconds, why=why))
        if state == "completed":  # the processes of others may still be about to write
            self.task.folder_of(number).remove()


def reason(trial: RayTrial) -> str:
    """Why a trial failed, in a line: what was raised first, not what Ray made of it."""
    file = trial.pickled_error_file  # in the driver's own folder; `get_pickled_error` looks where it is copied later
    if file is None or not Path(file).exists():
        return "its process ended"
    error: BaseException = cloudpickle.loads(Path(file).read_bytes())
    inner = getattr(error, "cause", None)
    error = inner if isinstance(inner, BaseException) else error
    return f"{type(error).__name__}: {first_line(error)}"
