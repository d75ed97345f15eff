"""Every trial of a search, in a file of its own from before it starts: what a killed search goes on from.

Ray Tune keeps a snapshot of a search now and then; trials that started or ended after the last one would be run twice.
Here a trial is written down when it is born, when it reports and when it ends.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.config.overrides import Scalar
from pipeline.config.serialisation import from_plain, to_plain
from stages.storage import Folder

State = Literal["running", "completed", "stopped early", "failed"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A trial at one of its evaluations."""

    step: int
    """Optimiser steps done."""
    tokens: int
    metrics: dict[str, float]
    """Training and held-out metrics by name, the objective among them."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting, tried."""

    number: int
    setting: dict[str, Scalar]
    """Fields of the distil config."""
    point: dict[str, Scalar]
    """The same as the sampler knows it; empty where no sampler proposed it."""
    seed: int
    confirms: int | None = None
    """In a confirmation, the number of the trial whose setting it runs again."""
    state: State = "running"
    why: str = ""
    """Of a failure, in a line."""
    reports: tuple[Report, ...] = ()
    run_id: str | None = None
    """Its run in MLflow."""
    seconds: float = 0.0
    """From its start to its end, start-up included."""

    @property
    def tokens(self) -> int:
        """Tokens trained on, to its last report."""
        return self.reports[-1].tokens if self.reports else 0

    def objective(self, name: str) -> float | None:
        """The objective called `name` at its last report; None before the first."""
        return self.reports[-1].metrics[name] if self.reports else None

    @property
    def distance(self) -> tuple[bool, int]:
        """How far it came, to compare it with others: to its end, or by reports. Tokens do not compare: with batches of
        another size a trial reports at a few more or less, and would come before or after all others."""
        return (True, 0) if self.state == "completed" else (False, len(self.reports))

    @property
    def is_over(self) -> bool:
        """Whether it ended, one way or another."""
        return self.state != "running"


def _ignore(_: "Sequence[Trial]") -> None:
    """Nobody watches."""


class Ledger:
    """The trials in a folder; used by one process, the driver."""

    def __init__(self, folder: Folder, on_change: Callable[[Sequence[Trial]], None] = _ignore) -> None:
        """Reads what is there. `on_change` gets all trials whenever one changes."""
        self._folder, self._on_change = folder, on_change
        self._trials: dict[int, Trial] = {}
        for name in folder.names():
            if name.endswith(".json"):
                trial = from_plain(Trial, json.loads(folder.read_bytes(name)), name, lenient=True)
                self._trials[trial.number] = trial

    def __getstate__(self) -> dict[str, Any]:
        """Ray Tune keeps a pickled copy of all that it is given: that copy tells nobody."""
        return self.__dict__ | {"_on_change": _ignore}

    @property
    def trials(self) -> list[Trial]:
        """All of them, by number."""
        return [self._trials[number] for number in sorted(self._trials)]

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    @property
    def next_number(self) -> int:
        """Of the trial that begins next."""
        return max(self._trials, default=-1) + 1

    def take(self, trial: Trial) -> None:
        """Write down a trial of another ledger, under its number."""
        self._write(trial)

    def begin(
        self,
        setting: Mapping[str, Scalar],
        *,
        seed: int,
        point: Mapping[str, Scalar] | None = None,
        confirms: int | None = None,
    ) -> Trial:
        """Write down the next trial, before it starts."""
        trial = Trial(
            number=self.next_number, setting=dict(setting), point=dict(point or {}), seed=seed, confirms=confirms
        )
        return self._write(trial)

    def started(self, number: int, run_id: str | None) -> Trial:
        """Note that the trial runs, be it once more, and its run in MLflow."""
        return self._write(replace(self[number], state="running", why="", run_id=run_id))

    def report(self, number: int, report: Report) -> bool:
        """Add a report; False, and nothing is added, for a step that was reported: a continued trial repeats some."""
        trial = self[number]
        if trial.reports and report.step <= trial.reports[-1].step:
            return False
        self._write(replace(trial, reports=(*trial.reports, report)))
        return True

    def end(self, number: int, state: State, *, seconds: float, why: str = "") -> Trial:
        """Note how the trial ended; `seconds` are added to those of an earlier start."""
        trial = self[number]
        return self._write(replace(trial, state=state, why=why, seconds=trial.seconds + seconds))

    def _write(self, trial: Trial) -> Trial:
        self._folder.write_bytes(f"{trial.number:04d}.json", json.dumps(to_plain(trial), indent=1).encode())
        self._trials[trial.number] = trial
        self._on_change(self.trials)
        return trial
