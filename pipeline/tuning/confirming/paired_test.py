"""Whether a setting is better than the paper's: a one-sided paired t test over fresh seeds, and who can still pass it.

Setting and paper's setting are trained on the same seeds, and what is tested is the differences: what a seed does to
both falls out. With several candidates the best of them is looked at, so each is tested at its share of the level
(Bonferroni). Their differences hang together, as all are taken from the same runs of the paper's setting, and
Bonferroni holds however they do: at a correlation of 1/2, that of equal spreads, 4.7 % are left of two candidates' 5 %.

Shapes: any axes in front (candidates, simulated searches), then S seeds, or the M that have been run so far. A gain is
the paper's value − the candidate's, above 0 where the candidate is better.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

POWER = 0.75
"""Less often than that a gain of twice the spread should not be overlooked: `tune.confirm_seeds` defaults to it."""
LEVEL = 0.05
"""In at most so many searches in which no candidate is better, one is called better."""

Floats = NDArray[np.float64]


def threshold(seeds: int, candidates: int) -> float:
    """What the t statistic of one of `candidates` must pass after `seeds`, at least two."""
    return float(stats.t.isf(LEVEL / candidates, seeds - 1))


def t_statistic(gains_S: Floats) -> Floats:
    """Of the mean gain, (…); infinite where all gains are the same, 0 where they are all 0."""
    mean, squares = _moments(gains_S)
    seeds = gains_S.shape[-1]
    return np.sign(mean) * np.sqrt(seeds * (seeds - 1) * _ratio(mean, squares))


def is_better(gains_S: Floats, *, candidates: int) -> NDArray[np.bool_]:
    """Whether a candidate with these gains on all seeds, one of `candidates`, passes, (…)."""
    return t_statistic(gains_S) > threshold(gains_S.shape[-1], candidates)


def can_win(gains_M: Floats, *, seeds: int, candidates: int) -> NDArray[np.bool_]:
    """Whether a candidate with these gains on the first M of `seeds` may still pass, whatever is to come, (…).

    With mean a and sum of squared deviations s so far, the t statistic is largest where all R = S − M further gains are
    the same, and then (Cauchy–Schwarz) t² is at most S (S − 1) (max(a, 0)² / s + R / (M S)). So who is dropped would
    not have been called better: a race changes no verdict, neither its level nor its power.
    """
    mean, squares = _moments(gains_M)
    run = gains_M.shape[-1]
    most = seeds * (seeds - 1) * (_ratio(np.maximum(mean, 0.0), squares) + (seeds - run) / (run * seeds))
    return most > threshold(seeds, candidates) ** 2


def power(seeds: int, candidates: int, *, gain: float = 2.0) -> float:
    """How often a candidate is called better that gains `gain` times its differences' standard deviation."""
    return float(stats.nct.sf(threshold(seeds, candidates), seeds - 1, gain * seeds**0.5))


def interval(gains_S: Floats, *, candidates: int) -> tuple[float, float]:
    """The gain's confidence interval, (S,): of these gains alone, and wholly above 0 just where they pass the test."""
    seeds = gains_S.shape[-1]
    half = threshold(seeds, candidates) * float(gains_S.std(ddof=1)) / seeds**0.5
    return float(gains_S.mean()) - half, float(gains_S.mean()) + half


def confidence(candidates: int) -> float:
    """Of that interval: its lower end alone is at the candidate's share of the level."""
    return 1 - 2 * LEVEL / candidates


def p_value(gains_S: Floats, *, candidates: int) -> float:
    """The chance of gains at least as clear, for the clearest of `candidates` that are no better, (S,); at most 1."""
    return min(1.0, candidates * float(stats.t.sf(t_statistic(gains_S), gains_S.shape[-1] - 1)))


def _moments(gains_M: Floats) -> tuple[Floats, Floats]:
    """Mean and sum of squared deviations."""
    mean = gains_M.mean(axis=-1)
    return mean, ((gains_M - mean[..., None]) ** 2).sum(axis=-1)


def _ratio(mean: Floats, squares: Floats) -> Floats:
    """mean² / squares, with 0 / 0 = 0: a candidate that does what the paper's setting does has gained nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean == 0, 0.0, mean**2 / squares)
