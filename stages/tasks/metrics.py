"""What predictions are worth, by the metrics that GLUE, SQuAD and CoNLL report; in shares of 1, not per cent.

A bootstrap asks thousands of times, with other `rows`. So what is slow is counted once for each example (`scoring/`),
and a resample adds up what its rows have; on the whole set scikit-learn, seqeval and SQuAD's rules give the same.
"""

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Examples, Questions, Rows, Texts, Words
from stages.tasks.scoring import answers, confusion, correlation, spans

Predictions = NDArray[np.int64] | NDArray[np.float64] | tuple[tuple[int, ...], ...] | tuple[str, ...]
"""Of texts an array (n,), classes in int64 and numbers in float64; of words a tuple of classes for each sentence; of
questions the answers' texts."""


def score(
    metric: str,
    truth: Examples,
    predicted: Predictions,
    rows: Rows | None = None,
    *,
    classes: tuple[str, ...] = (),
) -> float:
    """The metric over the examples of these row numbers, repeats and all, or over all of them.

    `classes` are the names by number, `Labelled.classes`: f1 and span_f1 need them. Where a resample leaves nothing to
    be told apart (one class, the same number everywhere, no spans) it is 0.0. Raises ValueError for predictions that
    are not as many as the examples, or of another kind, and for a number that is not finite: mistakes of the caller.
    """
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} predictions for {len(truth)} examples")
    name, _, positive = metric.partition(":")
    if isinstance(truth, Questions):
        counted = answers.counted(truth, _answers(predicted))
        values = counted.em if name == "em" else counted.f1 if name == "squad_f1" else _unknown(metric, "questions")
        return float((values if rows is None else values[rows]).mean())
    if isinstance(truth, Words):
        tags = _tags(predicted)
        if name == "span_f1":
            return spans.f1(spans.counted(truth.labels, tags, classes), rows)
        flat = confusion.flat(truth.labels, tags)
        return confusion.score(name, *confusion.words(flat, rows), classes, positive)
    if not isinstance(predicted, np.ndarray):
        raise ValueError(f"{type(predicted).__name__} of predictions where an array was expected")
    return _of_texts(name, truth, predicted, rows, classes, positive)


def _of_texts(
    name: str,
    truth: Texts,
    predicted: NDArray[np.int64] | NDArray[np.float64],
    rows: Rows | None,
    classes: tuple[str, ...],
    positive: str,
) -> float:
    right, said = (truth.labels, predicted) if rows is None else (truth.labels[rows], predicted[rows])
    if right.dtype.kind != said.dtype.kind:
        raise ValueError(f"predictions in {said.dtype} for labels in {right.dtype}")
    if right.dtype.kind == "i":
        return confusion.score(name, right.astype(np.int64), said.astype(np.int64), classes, positive)
    return correlation.score(name, right.astype(np.float64), said.astype(np.float64))


def _tags(predicted: Predictions) -> tuple[tuple[int, ...], ...]:
    if not isinstance(predicted, tuple) or any(isinstance(one, str) for one in predicted):
        raise ValueError("predictions for words are a tuple of classes for each sentence")
    return predicted  # type: ignore[return-value]


def _answers(predicted: Predictions) -> tuple[str, ...]:
    if not isinstance(predicted, tuple) or not all(isinstance(one, str) for one in predicted):
        raise ValueError("predictions for questions are a tuple of texts")
    return predicted  # type: ignore[return-value]


def _unknown(metric: str, what: str) -> NDArray[np.float64]:
    raise ValueError(f"{metric} is no metric of {what}")
