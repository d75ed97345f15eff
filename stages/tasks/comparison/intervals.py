"""How sure a difference between models on a task is: resamples of what was drawn, which is seeds and examples.

Every resample draws seeds, then examples, with replacement, the same ones for all models: so what an example has of
difficulty, and a seed of luck with the order, is no difference between them (a hierarchical bootstrap; Efron &
Tibshirani 1993, section 8). scipy's bootstrap resamples one axis alone, so the two levels are drawn here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Examples
from stages.tasks.metrics import scorer

RESAMPLES, CONFIDENCE = 1000, 0.95
Interval = tuple[float, float]


def resampled(
    metric: str,
    truth: Examples,
    answers: Mapping[str, Sequence[Any]],
    *,
    classes: tuple[str, ...],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Each model's median score over the seeds drawn, (resamples,), by the models' names; `answers` has as many of a
    model as it was fine-tuned with seeds."""
    rng, seeds = np.random.default_rng(seed), min(map(len, answers.values()))
    ways = {name: [scorer(metric, truth, one, classes=classes) for one in theirs] for name, theirs in answers.items()}
    found: dict[str, list[float]] = {name: [] for name in answers}
    for _ in range(resamples):
        drawn = rng.integers(seeds, size=seeds)
        rows = rng.integers(len(truth), size=len(truth))
        for name, theirs in ways.items():
            by_seed = {one: theirs[one](rows) for one in set(drawn.tolist())}
            found[name].append(float(np.median([by_seed[one] for one in drawn.tolist()])))
    return {name: np.asarray(values) for name, values in found.items()}


def interval_of(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of the resamples that are numbers; (0, 0) where none is."""
    there = values[np.isfinite(values)]
    if not len(there):
        return 0.0, 0.0
    low, high = np.quantile(there, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def kept_of(student: NDArray[np.float64], teacher: NDArray[np.float64]) -> NDArray[np.float64]:
    """Student / teacher, resample by resample; no number where the teacher knows nothing."""
    return np.divide(student, teacher, out=np.full(len(teacher), np.nan), where=teacher > 0)
