"""Which settings are run again, and whether one of them is better than the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np

from pipeline.config.overrides import Scalar
from pipeline.tuning.confirming import paired_test
from pipeline.tuning.ledger import Trial
from stages.storage import Folder

CANDIDATES = 2
"""Settings other than the paper's that are confirmed."""


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A setting, run again."""

    trial: int
    """The trial that it was first tried in."""
    setting: dict[str, Scalar]
    values: tuple[float, ...]
    """The objective after a whole trial on each of the fresh seeds, which are the same for every setting; fewer than
    these where it was left out of the rest."""
    why: str = ""
    """Of a run that failed, in a line."""

    @property
    def mean(self) -> float:
        """Over the seeds it was run on."""
        return mean(self.values)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The paper's setting beside the best other one, on the same fresh seeds."""

    paper: Confirmed
    """On the seeds of the best other one."""
    best: Confirmed | None
    """Of the others, one that is better, if there is one; else of those that came furthest the one that gained most.
    None where none could be confirmed."""
    gain: float
    """Mean of the paired differences, paper's − best's: above 0 where the best is better."""
    spread: float
    """Standard deviation of the paired differences."""
    low: float
    high: float
    """The gain's interval, of `confidence`."""
    confidence: float
    p_value: float
    """Of the gain, with the number of candidates accounted for."""
    is_better: bool
    """Whether the best was run on all seeds and passes `confirming.paired_test`."""

    @property
    def winner(self) -> Confirmed:
        """The setting for the full run."""
        return self.best if self.best is not None and self.is_better else self.paper


@dataclass(frozen=True, kw_only=True)
class Search:
    """A finished search."""

    folder: Folder
    mlflow_run_id: str
    objective: str
    trials: int
    completed: int
    """Of the trials, those that ran to the end of the budget; the others were stopped early, or failed."""
    failed: int
    tokens_spent: int
    """By all trials, each to its last report; without the confirmation."""
    full_budget_tokens: int
    """Of a whole trial."""
    confirm_tokens: int
    seeds: tuple[int, ...]
    """Of the confirmation."""
    confirmed: tuple[Confirmed, ...]
    """The paper's setting, then the others, the best in the search first."""
    candidates: int = 0
    """Others that were chosen, confirmed or not; 0 in a record from before this was noted: as many as were confirmed.
    """

    @property
    def verdict(self) -> Verdict:
        """What the values say by today's rule, not a record's word: an earlier rule said "better" too often."""
        paper, *others = self.confirmed
        return judge(paper, others, seeds=len(self.seeds), candidates=self.candidates)


def candidates(trials: Sequence[Trial], objective: str, most: int = CANDIDATES) -> list[Trial]:
    """The best trials other than trial 0, the best first.

    Trials are compared where they got equally far: who was let further comes before who was stopped earlier.
    """
    tried = [trial for trial in trials if trial.number and trial.state in ("completed", "stopped early")]
    return sorted(sorted(tried, key=lambda one: _value(one, objective)), key=lambda one: one.distance, reverse=True)[
        :most
    ]


def judge(paper: Confirmed, others: Sequence[Confirmed], *, seeds: int, candidates: int = 0) -> Verdict:
    """The best of `others` beside the paper's setting, after at most `seeds`; each has been run on the first of the
    paper's seeds. `candidates`: how many were chosen, where that is more than came so far as to be among `others`."""
    number = max(candidates, len(others))
    judged = [_beside(paper, other, seeds, number) for other in others]
    if not judged:
        empty = {"gain": 0.0, "spread": 0.0, "low": 0.0, "high": 0.0, "confidence": 0.0, "p_value": 1.0}
        return Verdict(paper=paper, best=None, is_better=False, **empty)
    return max(judged, key=lambda one: (one.is_better, len(one.paper.values), one.gain))


def _beside(paper: Confirmed, other: Confirmed, seeds: int, candidates: int) -> Verdict:
    """One of `candidates` beside the paper's setting."""
    run = len(other.values)
    gains_M = np.subtract(paper.values[:run], other.values)
    low, high = paired_test.interval(gains_M, candidates=candidates)
    return Verdict(
        paper=replace(paper, values=paper.values[:run]),
        best=other,
        gain=float(gains_M.mean()),
        spread=float(gains_M.std(ddof=1)),
        low=low,
        high=high,
        confidence=paired_test.confidence(candidates),
        p_value=paired_test.p_value(gains_M, candidates=candidates),
        is_better=run == seeds and bool(paired_test.is_better(gains_M, candidates=candidates)),
    )


def _value(trial: Trial, objective: str) -> float:
    value = trial.objective(objective)
    assert value is not None, "a trial that was not stopped before it reported"
    return value
