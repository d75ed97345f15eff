"""The paired bootstrap beside a plain loop, and in cases whose answer is known."""

import numpy as np
import pytest

from stages.evaluation.significance import is_better, paired_bootstrap


def blocks(count: int, seed: int) -> np.ndarray:
    """Losses of very unequal blocks, as held-out text has them."""
    return np.random.default_rng(seed).gamma(4.0, 0.6, count)


def test_paired_bootstrap_interval_agrees_with_a_plain_loop() -> None:
    incumbent = blocks(80, 1)
    candidate = incumbent - np.random.default_rng(2).normal(0.05, 0.3, 80)
    loop = np.random.default_rng(3)
    means = sorted(np.mean([incumbent[i] - candidate[i] for i in loop.integers(0, 80, 80)]) for _ in range(4000))
    found = paired_bootstrap(candidate, incumbent)
    assert found.gain == pytest.approx(np.mean(incumbent - candidate))
    assert found.low == pytest.approx(means[100], abs=0.006)
    assert found.high == pytest.approx(means[3900], abs=0.006)
    assert found.probability == pytest.approx(np.mean(np.array(means) > 0), abs=0.03)


@pytest.mark.parametrize("count", [2, 80, 1024])
def test_paired_bootstrap_interval_is_numpys_quantile_of_means_over_the_same_draws(count: int) -> None:
    """The figures of models that were judged before stay what they were, but for rounding in the last place."""
    incumbent, candidate = blocks(count, 1), blocks(count, 1) - np.random.default_rng(2).normal(0.05, 0.3, count)
    means = (incumbent - candidate)[np.random.default_rng(3).integers(0, count, (1000, count))].mean(axis=1)
    found = paired_bootstrap(candidate, incumbent, seed=3, resamples=1000, confidence=0.9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.05, 0.95])), rel=0, abs=1e-15)
    assert found.probability == (means > 0).mean()


def test_paired_bootstrap_one_block_is_its_own_interval() -> None:
    found = paired_bootstrap(np.array([2.0]), np.array([2.5]))
    assert (found.low, found.gain, found.high, found.probability, found.blocks) == (0.5, 0.5, 0.5, 1.0, 1)


def test_paired_bootstrap_small_even_gain_on_unequal_blocks_is_seen() -> None:
    """0.02 nats everywhere, where blocks differ by more than 1 nat: an unpaired comparison would see nothing."""
    incumbent = blocks(200, 4)
    assert is_better(incumbent - 0.02 + np.random.default_rng(5).normal(0, 0.05, 200), incumbent)


def test_is_better_worse_candidate_is_refused() -> None:
    incumbent = blocks(200, 6)
    assert not is_better(incumbent + 0.02, incumbent)


def test_is_better_equal_losses_are_refused() -> None:
    assert not is_better(blocks(50, 7), blocks(50, 7))


def test_is_better_losses_that_are_no_numbers_are_refused() -> None:
    candidate = blocks(50, 8)
    candidate[3] = np.nan
    assert not is_better(candidate, blocks(50, 8) + 1)


def test_is_better_mere_noise_wins_at_most_one_in_twenty() -> None:
    """The interval's promise: 2.5 % of candidates that are no better pass; over 400 draws 4.5 % is four sigma."""
    rng = np.random.default_rng(9)
    wins = sum(
        paired_bootstrap(rng.normal(0, 1, 60), rng.normal(0, 1, 60), seed=trial, resamples=1000).is_better
        for trial in range(400)
    )
    assert wins / 400 < 0.06


def test_paired_bootstrap_same_seed_gives_the_same_interval() -> None:
    one, two = (paired_bootstrap(blocks(30, 10), blocks(30, 11), seed=5) for _ in range(2))
    assert one == two


def test_paired_bootstrap_drawn_in_slabs_agrees_with_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    once = paired_bootstrap(blocks(100, 12), blocks(100, 13))
    monkeypatch.setattr("stages.evaluation.significance.DRAWS_AT_ONCE", 3000)
    assert paired_bootstrap(blocks(100, 12), blocks(100, 13)) == once


def test_paired_bootstrap_other_number_of_blocks_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no pair"):
        paired_bootstrap(blocks(10, 1), blocks(11, 1))
