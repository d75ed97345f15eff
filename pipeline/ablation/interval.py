"""How far two ways to train are apart, and how sure that is: over seeds and held-out blocks, both drawn at random.

A seed and a block are two samples at once: another seed would have given other students, another text other losses. An
interval over one of them alone is too narrow for the other (Clark 1973, "The language-as-fixed-effect fallacy"). His
min F' for the pair: the squared standard error of the mean is that over seeds' means plus that over blocks' means, with
Satterthwaite's degrees of freedom. It counts what both share twice, so the interval is rather too wide than too narrow;
blocks of one long document hang together, which makes it somewhat narrower than it should be.

Shapes: S seeds, B held-out blocks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of the held-out loss, in nats; above 0 where the variant is worse than the recipe."""

    mean: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether nothing, 0, lies outside of the interval."""
        return self.low > 0 or self.high < 0


def difference(losses_SB: Floats, reference_SB: Floats) -> Difference:
    """Of two ways to train on the same seeds, scored on the same blocks: (mean, low, high) of losses − reference.

    Raises ValueError where they are no pairs, or fewer than two seeds or blocks.
    """
    if losses_SB.shape != reference_SB.shape or losses_SB.ndim != 2 or min(losses_SB.shape) < 2:
        raise ValueError(f"no pairs by seed and block: shapes {losses_SB.shape} and {reference_SB.shape}")
    apart_SB = losses_SB - reference_SB
    mean = float(apart_SB.mean())
    of_seeds, of_blocks = (float(means.var(ddof=1)) / means.size for means in (apart_SB.mean(axis=1), apart_SB.mean(0)))
    squared = of_seeds + of_blocks
    if squared == 0:
        return Difference(mean=mean, low=mean, high=mean)
    seeds, blocks = apart_SB.shape
    freedom = squared**2 / (of_seeds**2 / (seeds - 1) + of_blocks**2 / (blocks - 1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * squared**0.5
    return Difference(mean=mean, low=mean - half, high=mean + half)
