"""How often "better" is said where it is not so, and how often where it is: simulated, race and all."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from pipeline.tuning.config import TuneConfig
from pipeline.tuning.confirming.paired_test import (
    LEVEL,
    POWER,
    can_win,
    confidence,
    interval,
    is_better,
    p_value,
    power,
    t_statistic,
    threshold,
)
from pipeline.tuning.confirming.race import FEWEST
from pipeline.tuning.verdict import CANDIDATES

SEARCHES = 200_000
SEEDS = TuneConfig().confirm_seeds


def gains(searches: int, candidates: int, seeds: int, *, gain: float = 0.0, noise: float = 1.0) -> np.ndarray:
    """(searches, candidates, seeds): all from the same runs of the paper's setting, as in a search; every run's value
    spreads by 1, the candidates' by `noise`. The first candidate gains `gain` standard deviations of its differences.
    """
    rng = np.random.default_rng(0)
    paper = rng.standard_normal((searches, 1, seeds))
    others = noise * rng.standard_normal((searches, candidates, seeds))
    found = paper - others
    found[:, 0] += gain * (1 + noise**2) ** 0.5
    return found


def raced(gains_GKS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who is called better, (searches, candidates), and how many runs that took, (searches,)."""
    searches, candidates, seeds = gains_GKS.shape
    running = np.ones((searches, candidates), dtype=bool)
    runs = np.full(searches, FEWEST * (candidates + 1))
    for number in range(FEWEST, seeds):
        running &= can_win(gains_GKS[..., :number], seeds=seeds, candidates=candidates)
        runs += np.where(running.any(axis=1), running.sum(axis=1) + 1, 0)
    return running & is_better(gains_GKS, candidates=candidates), runs


@pytest.mark.parametrize("seeds", [2, 3, SEEDS, 6])
@pytest.mark.parametrize("candidates", [1, CANDIDATES, 3, 8])
@pytest.mark.parametrize("noise", [0.05, 1.0, 3.0])  # the candidates' gains are almost the same, or almost independent
def test_better_where_nothing_is_better_is_said_in_at_most_five_percent(
    candidates: int, seeds: int, noise: float
) -> None:
    better, _ = raced(gains(40_000, candidates, seeds, noise=noise))
    assert better.any(axis=1).mean() <= LEVEL + 3 * (LEVEL * (1 - LEVEL) / 40_000) ** 0.5


def test_better_where_one_gains_twice_the_spread_is_found_in_three_quarters_and_with_a_seed_less_it_is_not() -> None:
    found = {seeds: raced(gains(SEARCHES, CANDIDATES, seeds, gain=2.0))[0][:, 0].mean() for seeds in (SEEDS - 1, SEEDS)}
    assert found[SEEDS] >= 0.75
    assert found[SEEDS - 1] < 0.75
    for seeds, share in found.items():
        assert share == pytest.approx(power(seeds, CANDIDATES), abs=0.003)
    assert power(SEEDS, CANDIDATES) >= POWER == 0.75


@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_race_drops_nobody_who_would_have_been_called_better_and_saves_runs(gain: float) -> None:
    for seeds in (SEEDS, 6):
        all_gains = gains(40_000, CANDIDATES, seeds, gain=gain)
        better, runs = raced(all_gains)
        np.testing.assert_array_equal(better, is_better(all_gains, candidates=CANDIDATES))
        assert runs.mean() < (0.65 if gain == 0.0 else 0.9) * (CANDIDATES + 1) * seeds


def test_can_win_is_exactly_whether_the_best_further_gains_would_pass() -> None:
    rng = np.random.default_rng(1)
    seeds, both = 5, set()
    for _ in range(60):
        run = int(rng.integers(2, seeds))
        so_far = rng.standard_normal(run) + rng.choice([-1.0, 0.0, 1.0])

        def worst(size: float, so_far: np.ndarray = so_far, run: int = run) -> float:
            return -float(t_statistic(np.append(so_far, np.full(seeds - run, np.exp(size)))))

        most = -minimize_scalar(worst, bounds=(-12, 12), method="bounded").fun
        expected = most > threshold(seeds, 2)
        assert bool(can_win(so_far, seeds=seeds, candidates=2)) == expected, (so_far, most)
        both.add(expected)
    assert both == {True, False}


def test_statistics_are_those_of_scipy_s_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    paper, other = rng.standard_normal((2, 6))
    found = stats.ttest_rel(paper, other, alternative="greater")
    assert t_statistic(paper - other) == pytest.approx(found.statistic)
    assert p_value(paper - other, candidates=1) == pytest.approx(found.pvalue)
    assert p_value(paper - other, candidates=3) == pytest.approx(min(1.0, 3 * found.pvalue))
    two_sided = stats.ttest_rel(paper, other).confidence_interval(confidence(3))
    assert interval(paper - other, candidates=3) == pytest.approx((two_sided.low, two_sided.high))
    assert (confidence(1), confidence(2)) == (0.9, 0.95)


def test_interval_lies_above_nothing_just_where_it_is_better() -> None:
    for one in gains(300, 1, 4, gain=1.5)[:, 0]:
        assert (interval(one, candidates=2)[0] > 0) == is_better(one, candidates=2)
        assert (p_value(one, candidates=2) < LEVEL) == is_better(one, candidates=2)


def test_gains_that_do_not_spread_are_better_above_nothing_only() -> None:
    same = np.array([[0.5] * 4, [0.0] * 4, [-0.5] * 4])
    assert is_better(same, candidates=2).tolist() == [True, False, False]
    assert can_win(same[:, :2], seeds=4, candidates=2).tolist() == [True, False, False]
    assert p_value(same[1], candidates=2) == 1.0
