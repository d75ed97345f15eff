"""What predictions are worth, by the metrics that GLUE, SQuAD and CoNLL report; in shares of 1, not per cent.

A bootstrap asks thousands of times, with other `rows`. So what is slow is counted once for each example (`scoring/`),
and a resample adds up what its rows have; on the whole set scikit-learn, seqeval and SQuAD's rules give the same.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Examples, Questions, Rows, Words
from stages.tasks.scoring import answers, confusion, correlation, spans

Predictions = NDArray[np.int64] | NDArray[np.float64] | tuple[tuple[int, ...], ...] | tuple[str, ...]
"""Of texts an array (n,), classes in int64 and numbers in float64; of words a tuple of classes for each sentence; of
questions the answers' texts."""


Scorer = Callable[[Rows | None], float]
"""From row numbers, repeats and all, or None for all of them, to a metric over these examples."""


def score(
    metric: str, truth: Examples, predicted: Predictions, rows: Rows | None = None, *, classes: tuple[str, ...] = ()
) -> float:
    """The metric over the examples of these row numbers, repeats and all, or over all of them: see `scorer`."""
    return scorer(metric, truth, predicted, classes=classes)(rows)


def scorer(metric: str, truth: Examples, predicted: Predictions, *, classes: tuple[str, ...] = ()) -> Scorer:
    """The metric as a function of which examples count: what can be counted beforehand is.

    `classes` are the names by number, `Labelled.classes`: f1 and span_f1 need them. Where a resample leaves nothing to
    be told apart (one class, the same number everywhere, no spans) it is 0.0. Raises ValueError for predictions that
    are not as many as the examples, or of another kind, and for a number that is not finite: mistakes of the caller.
    """
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} predictions for {len(truth)} examples")
    name, _, positive = metric.partition(":")
    if isinstance(truth, Questions):
        values = _of_questions(metric, truth, _answers(predicted))
        return lambda rows: float((values if rows is None else values[rows]).mean())
    if isinstance(truth, Words):
        return _of_words(name, truth, _tags(predicted), classes, positive)
    if not isinstance(predicted, np.ndarray):
        raise ValueError(f"{type(predicted).__name__} of predictions where an array was expected")
    return _of_texts(name, truth.labels, predicted, classes, positive)


def _of_questions(metric: str, truth: Questions, said: tuple[str, ...]) -> NDArray[np.float64]:
    counted = answers.counted(truth, said)
    if metric not in ("em", "squad_f1"):
        raise ValueError(f"{metric} is no metric of questions")
    return counted.em if metric == "em" else counted.f1


def _of_words(name: str, truth: Words, tags: confusion.Tags, classes: tuple[str, ...], positive: str) -> Scorer:
    if name == "span_f1":
        counts = spans.counted(truth.labels, tags, classes)
        return lambda rows: spans.f1(counts, rows)
    flat = confusion.flat(truth.labels, tags)
    return lambda rows: confusion.score(name, *confusion.words(flat, rows), classes, positive)


def _of_texts(
    name: str, truth: NDArray[Any], predicted: NDArray[Any], classes: tuple[str, ...], positive: str
) -> Scorer:
    if truth.dtype.kind != predicted.dtype.kind:
        raise ValueError(f"predictions in {predicted.dtype} for labels in {truth.dtype}")
    by: Callable[[NDArray[Any], NDArray[Any]], float] = (
        partial(confusion.score, name, classes=classes, positive=positive)
        if truth.dtype.kind == "i"
        else partial(correlation.score, name)
    )
    return lambda rows: by(truth, predicted) if rows is None else by(truth[rows], predicted[rows])


def _tags(predicted: Predictions) -> tuple[tuple[int, ...], ...]:
    if not isinstance(predicted, tuple) or any(isinstance(one, str) for one in predicted):
        raise ValueError("predictions for words are a tuple of classes for each sentence")
    return predicted  # type: ignore[return-value]


def _answers(predicted: Predictions) -> tuple[str, ...]:
    if not isinstance(predicted, tuple) or not all(isinstance(one, str) for one in predicted):
        raise ValueError("predictions for questions are a tuple of texts")
    return predicted  # type: ignore[return-value]
