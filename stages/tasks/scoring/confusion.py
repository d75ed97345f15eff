"""Metrics of classes, for texts or for the words of sentences: how often which class was taken for which."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Rows

Tags = tuple[tuple[int, ...], ...]
KNOWN_POSITIVE = ("1", "equivalent", "duplicate")
"""What f1 looks for in GLUE's tasks, MRPC and QQP, in files and on the hub."""


def score(
    name: str, right: NDArray[np.int64], said: NDArray[np.int64], classes: tuple[str, ...], positive: str
) -> float:
    """One of `METRICS`, as scikit-learn defines them; both arrays (n,) of classes' numbers; ValueError for another.

    f1's `positive` class is a name of `classes`; empty: the one that GLUE looks for.
    """
    if name == "accuracy":
        return float((right == said).mean()) if right.size else 0.0
    matrix = _matrix(right, said)
    if name == "f1":
        return float(_f1(matrix)[positive_class(classes, positive)])
    if name not in _OF_MATRIX:
        raise ValueError(f"{name} is no metric of classes")
    return _OF_MATRIX[name](matrix)


def positive_class(classes: tuple[str, ...], positive: str = "") -> int:
    """The number of the class that f1 looks for; ValueError where it is not named, and not one of two and known."""
    found = [positive] if positive else [name for name in KNOWN_POSITIVE if name in classes and len(classes) == 2]
    if not found or found[0] not in classes:
        raise ValueError(f"f1 has no class to look for among {', '.join(classes)}")
    return classes.index(found[0])


@dataclass(frozen=True, kw_only=True)
class FlatWords:
    """All sentences' words in one row."""

    right: NDArray[np.int64]
    said: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """(sentences,): where each begins, and how many words it has."""


def flat(right: Tags, said: Tags) -> FlatWords:
    """Both end to end; made once for a pair, however often it is resampled. ValueError for a sentence with fewer
    predictions than words, or more."""
    lengths = np.array([len(tags) for tags in right], np.int64)
    if lengths.tolist() != [len(tags) for tags in said]:
        raise ValueError("predictions for words are not as many as the words")
    joined = [np.fromiter((tag for tags in one for tag in tags), np.int64) for one in (right, said)]
    return FlatWords(right=joined[0], said=joined[1], starts=lengths.cumsum() - lengths, lengths=lengths)


def words(of: FlatWords, rows: Rows | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(right, said) of the words in these sentences."""
    if rows is None:
        return of.right, of.said
    lengths = of.lengths[rows]
    before = lengths.cumsum() - lengths
    places = np.arange(lengths.sum()) + np.repeat(of.starts[rows] - before, lengths)
    return of.right[places], of.said[places]


def _matrix(right: NDArray[np.int64], said: NDArray[np.int64]) -> NDArray[np.int64]:
    """(classes, classes): how often the row's class was said to be the column's."""
    count = int(max(right.max(initial=0), said.max(initial=0))) + 1
    return np.bincount(right * count + said, minlength=count * count).reshape(count, count)


def _f1(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes,): of each, 0 where it neither was nor was said."""
    hits, both = matrix.diagonal(), matrix.sum(0) + matrix.sum(1)
    return 2 * hits / np.maximum(both, 1)


def _macro_f1(matrix: NDArray[np.int64]) -> float:
    """The mean over the classes that occur, as truth or as prediction."""
    met = (matrix.sum(0) + matrix.sum(1)) > 0
    return float(_f1(matrix)[met].mean()) if met.any() else 0.0


def _mcc(matrix: NDArray[np.int64]) -> float:
    """Matthews' correlation for any number of classes (Gorodkin 2004): 0 where either side is constant."""
    was, said, total = matrix.sum(1).astype(float), matrix.sum(0).astype(float), float(matrix.sum())
    together = matrix.trace() * total - was @ said
    spread = (total**2 - said @ said) * (total**2 - was @ was)
    return float(together / np.sqrt(spread)) if spread > 0 else 0.0


_OF_MATRIX: dict[str, Callable[[NDArray[np.int64]], float]] = {"macro_f1": _macro_f1, "mcc": _mcc}
