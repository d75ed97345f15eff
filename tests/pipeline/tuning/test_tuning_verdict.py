"""What is run again, and when it is called better."""

import pytest

from pipeline.tuning.ledger import Report, State, Trial
from pipeline.tuning.verdict import Confirmed, candidates, judge

NAME = "heldout_kl"


def tried(number: int, tokens: int, value: float, state: State = "stopped early") -> Trial:
    reports = (Report(step=1, tokens=tokens, metrics={NAME: value}),) if tokens else ()
    return Trial(number=number, setting={}, point={}, seed=0, state=state, reports=reports)


def confirmed(trial: int, *values: float) -> Confirmed:
    return Confirmed(trial=trial, setting={"temperature": float(trial)}, values=values)


def test_candidates_are_the_best_of_those_that_got_furthest_and_never_the_paper_s() -> None:
    trials = [
        tried(0, 1000, 1.0, "completed"),
        tried(1, 1000, 3.0, "completed"),
        tried(2, 100, 0.5),  # it was stopped: at 100 tokens others were better
        tried(3, 1000, 2.0, "completed"),
        tried(4, 400, 2.5),
        tried(5, 1000, 0.1, "failed"),
        tried(6, 0, 0.0, "failed"),
    ]
    assert [trial.number for trial in candidates(trials, NAME)] == [3, 1]
    assert [trial.number for trial in candidates(trials, NAME, most=9)] == [3, 1, 4, 2]
    assert candidates(trials[:1], NAME) == []


def test_judge_lower_on_every_seed_by_more_than_the_spread_is_better() -> None:
    verdict = judge(confirmed(0, 3.00, 3.10), [confirmed(5, 2.98, 3.10), confirmed(7, 2.90, 2.98)])
    assert verdict.best == confirmed(7, 2.90, 2.98)
    assert verdict.gain == pytest.approx(0.11)  # 0.10 and 0.12
    assert verdict.spread == pytest.approx((2 * 0.01**2) ** 0.5)
    assert verdict.is_better
    assert verdict.winner.trial == 7


@pytest.mark.parametrize(
    "values",
    [
        (3.00, 3.10),  # the same
        (2.50, 3.11),  # better on average, worse on one seed
        (2.99, 2.50),  # better on both, by 0.01 and 0.60: that is no effect that can be relied on
        (3.50, 3.50),
    ],
)
def test_judge_anything_less_is_no_better_and_the_paper_s_setting_wins(values: tuple[float, float]) -> None:
    verdict = judge(confirmed(0, 3.00, 3.10), [confirmed(7, *values)])
    assert not verdict.is_better
    assert verdict.winner.trial == 0
    assert verdict.best is not None
    assert verdict.best.trial == 7


def test_judge_nothing_beside_the_paper_s_is_no_better() -> None:
    verdict = judge(confirmed(0, 3.00, 3.10), [])
    assert (verdict.best, verdict.is_better, verdict.winner.trial) == (None, False, 0)
