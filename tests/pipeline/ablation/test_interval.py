"""The interval of a difference over seeds and blocks: against a plain loop, Clark's formula, and a simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.ablation.interval import difference


def test_difference_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    losses, reference = rng.normal(3, 1, (3, 7)), rng.normal(2.5, 1, (3, 7))
    found = difference(losses, reference)
    apart = [[losses[s][b] - reference[s][b] for b in range(7)] for s in range(3)]
    seeds = [sum(row) / 7 for row in apart]
    blocks = [sum(apart[s][b] for s in range(3)) / 3 for b in range(7)]
    mean = sum(seeds) / 3
    of_seeds = sum((one - mean) ** 2 for one in seeds) / 2 / 3
    of_blocks = sum((one - mean) ** 2 for one in blocks) / 6 / 7
    freedom = (of_seeds + of_blocks) ** 2 / (of_seeds**2 / 2 + of_blocks**2 / 6)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(of_seeds + of_blocks)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))


def test_difference_s_statistic_is_clark_s_min_f() -> None:
    """min F' = F1 · F2 / (F1 + F2), of the two F that consider seeds alone and blocks alone."""
    rng = np.random.default_rng(1)
    apart = rng.normal(0.3, 0.1, (4, 50)) + rng.normal(0, 0.05, (4, 1)) + rng.normal(0, 0.2, 50)
    found = difference(apart, np.zeros_like(apart))
    one, two = (stats.ttest_1samp(apart.mean(axis=axis), 0).statistic ** 2 for axis in (1, 0))
    smallest = one * two / (one + two)
    freedom = (one + two) ** 2 / (one**2 / 49 + two**2 / 3)
    half = found.mean / math.sqrt(smallest) * stats.t.ppf(0.975, freedom)
    assert (found.high - found.low) / 2 == pytest.approx(half)


@pytest.mark.parametrize(("of_seeds", "of_blocks"), [(0.0, 1.0), (0.3, 1.0), (1.0, 0.1)])
def test_difference_of_nothing_is_called_one_in_no_more_than_a_twentieth(of_seeds: float, of_blocks: float) -> None:
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(2_000):
        noise = rng.normal(0, 0.5, (3, 40)) + rng.normal(0, of_seeds, (3, 1)) + rng.normal(0, of_blocks, 40)
        wrong += difference(noise, np.zeros_like(noise)).differs
    assert wrong / 2_000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2_000)


def test_difference_that_every_seed_and_block_has_differs_and_none_at_all_does_not() -> None:
    ones = np.ones((2, 3))
    assert (difference(ones, 0 * ones).low, difference(ones, 0 * ones).differs) == (1.0, True)
    assert (difference(ones, ones).high, difference(ones, ones).differs) == (0.0, False)


@pytest.mark.parametrize("shapes", [((1, 5), (1, 5)), ((2, 1), (2, 1)), ((2, 5), (2, 4)), ((5,), (5,))])
def test_difference_of_what_are_no_pairs_is_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="no pairs by seed and block"):
        difference(*map(np.zeros, shapes))
