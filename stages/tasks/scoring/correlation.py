"""Metrics of numbers: how well predictions go with the truth."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def score(name: str, right: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """pearson, spearman or r2 of two arrays (n,); ValueError for another metric, and for a number that is none."""
    if not np.isfinite(said).all():
        raise ValueError("a predicted number is not finite")
    if name == "pearson":
        return _pearson(right, said)
    if name == "spearman":
        return _pearson(rankdata(right), rankdata(said))
    if name == "r2":
        spread = float(((right - right.mean()) ** 2).sum()) if right.size else 0.0
        return 1 - float(((right - said) ** 2).sum()) / spread if spread else 0.0
    raise ValueError(f"{name} is no metric of numbers")


def _pearson(right: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    """By hand, since scipy warns of constant input, which a resample may well be: 0 then."""
    if right.size < 2 or np.ptp(right) == 0 or np.ptp(said) == 0:
        return 0.0
    x, y = right - right.mean(), said - said.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))
