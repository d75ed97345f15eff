"""Is one model better than another on the same held-out blocks, or was it luck? A paired bootstrap.

Both models see the same blocks with the same masks, so a block that is hard for one is hard for the other: resampling
the *differences* per block removes what they share and needs far fewer blocks than comparing two intervals. Blocks
are the unit because masked positions within one share their context; blocks of one long document still hang
together, which makes the interval somewhat too narrow. (Efron & Tibshirani 1993, sections 8 and 13; Koehn 2004.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

DRAWS_AT_ONCE = 4_000_000
"""Indices drawn in one piece: 32 MB, whatever the number of blocks."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much lower the candidate's mean loss is than the incumbent's, in nats; above 0 means it is better."""

    gain: float
    """Mean over blocks of (incumbent − candidate)."""
    low: float
    high: float
    """The interval of the gain: `confidence` of the resamples lie in it, as many below as above."""
    probability: float
    """Share of resamples in which the candidate was better."""
    confidence: float
    blocks: int

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies above 0; false for a gain that is not a number."""
        return self.low > 0

    def __str__(self) -> str:
        return (
            f"held-out loss lower by {self.gain:.4f} nats "
            f"({self.confidence:.0%} interval {self.low:+.4f} to {self.high:+.4f} over {self.blocks:,} blocks)"
        )


def paired_bootstrap(
    candidate: NDArray[np.floating],
    incumbent: NDArray[np.floating],
    *,
    seed: int = 0,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Comparison:
    """Compare mean losses of two models by resampling blocks with replacement; the same seed gives the same answer.

    `candidate` and `incumbent` hold one loss a block, the same blocks in the same order. Raises ValueError where they
    are no pair (other lengths, not one-dimensional, empty): that is a mistake of the caller, never of the user.
    """
    if candidate.ndim != 1 or candidate.shape != incumbent.shape or candidate.size == 0:
        raise ValueError(f"no pair of losses a block: shapes {candidate.shape} and {incumbent.shape}")
    gains = incumbent.astype(np.float64) - candidate.astype(np.float64)
    # scipy asks for two blocks at least; of one block, resamples are that block, and so they are of it twice.
    sample = gains if gains.size > 1 else gains.repeat(2)
    rng, batch = np.random.default_rng(seed), max(1, DRAWS_AT_ONCE // gains.size)
    how = {"n_resamples": resamples, "batch": batch, "confidence_level": confidence, "method": "percentile"}
    found = bootstrap((sample,), np.mean, rng=rng, **how)
    low, high = found.confidence_interval
    return Comparison(
        gain=float(gains.mean()),
        low=float(low),
        high=float(high),
        probability=float((found.bootstrap_distribution > 0).mean()),
        confidence=confidence,
        blocks=gains.size,
    )


def is_better(candidate: NDArray[np.floating], incumbent: NDArray[np.floating], *, seed: int = 0) -> bool:
    """Whether the candidate's held-out loss is lower, with 95 % confidence; ties and too few blocks say no."""
    return paired_bootstrap(candidate, incumbent, seed=seed).is_better
