"""Which settings are run again, and whether one of them is better than the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from pipeline.config.overrides import Scalar
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
    """The objective after a whole trial on each of the fresh seeds, which are the same for every setting."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return mean(self.values)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The paper's setting beside the best other one, on the same fresh seeds."""

    paper: Confirmed
    best: Confirmed | None
    """Of the others, the one with the lowest mean; None where none could be confirmed."""
    gain: float
    """Mean of the paired differences, paper's − best's: above 0 where the best is better."""
    spread: float
    """Standard deviation of the paired differences."""
    is_better: bool
    """Whether the best is lower on every seed, and by more on average than the differences spread."""

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
    verdict: Verdict


def candidates(trials: Sequence[Trial], objective: str, most: int = CANDIDATES) -> list[Trial]:
    """The best trials other than trial 0, the best first.

    Trials are compared where they got equally far: who was let further comes before who was stopped earlier.
    """
    tried = [trial for trial in trials if trial.number and trial.state in ("completed", "stopped early")]
    return sorted(tried, key=lambda trial: (-trial.tokens, _value(trial, objective)))[:most]


def judge(paper: Confirmed, others: Sequence[Confirmed]) -> Verdict:
    """The best of `others` beside the paper's setting; all have been run on the same seeds."""
    best = min(others, key=lambda one: one.mean, default=None)
    if best is None:
        return Verdict(paper=paper, best=None, gain=0.0, spread=0.0, is_better=False)
    gains = [mine - theirs for mine, theirs in zip(paper.values, best.values, strict=True)]
    gain, spread = mean(gains), stdev(gains)
    return Verdict(paper=paper, best=best, gain=gain, spread=spread, is_better=min(gains) > 0 and gain > spread)


def _value(trial: Trial, objective: str) -> float:
    value = trial.objective(objective)
    assert value is not None, "a trial that was not stopped before it reported"
    return value
