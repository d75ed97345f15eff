"""What a model said, made into answers: a class, a number, a class a word, a part of a text.

Shapes: I inputs, N tokens of all inputs, C outputs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Examples, Questions, Words
from stages.tasks.fine_tuning.inputs import Inputs
from stages.tasks.fine_tuning.learn import Scale
from stages.tasks.metrics import Predictions
from stages.tasks.task import Kind

LONGEST_ANSWER, BEST = 30, 20
"""Tokens of an answer, and how many of the likeliest first and last tokens are tried; SQuAD's usual numbers."""


def answers(said: NDArray[np.float32], inputs: Inputs, examples: Examples, scale: Scale) -> Predictions:
    """One answer an example, as `stages/tasks/metrics.py` scores them."""
    match examples:
        case Words():
            return _classes_of_words(said, inputs, examples)
        case Questions():
            return _spans(said, inputs, examples)
    if said.ndim == 1:
        said = np.nan_to_num(said)  # in fp16 a sum may have no end; then nothing was said
        return said.astype(np.float64) * scale.spread + scale.mean
    return said.argmax(-1).astype(np.int64)


def _classes_of_words(said: NDArray[np.float32], inputs: Inputs, examples: Words) -> tuple[tuple[int, ...], ...]:
    """A word that was cut off is given the commonest class of the words that were not."""
    best = said.argmax(-1)
    asked = inputs.places_N2[:, 0] >= 0
    commonest = int(np.bincount(best[asked]).argmax()) if asked.any() else 0
    found = [np.full(len(words), commonest) for words in examples.words]
    for row, example in enumerate(inputs.examples_I):
        within = slice(inputs.starts_I[row], inputs.starts_I[row + 1])
        words = inputs.places_N2[within, 0]
        found[example][words[words >= 0]] = best[within][words >= 0]
    return tuple(tuple(int(one) for one in classes) for classes in found)


def _spans(said: NDArray[np.float32], inputs: Inputs, examples: Questions) -> tuple[str, ...]:
    """The likeliest part of the text that is in order and not too long, over all windows of a question."""
    best = [(-np.inf, "")] * len(examples.ids)
    for row, example in enumerate(inputs.examples_I):
        within = slice(inputs.starts_I[row], inputs.starts_I[row + 1])
        scores, places = said[within], inputs.places_N2[within]
        outside = places[:, 0] < 0
        begins, ends = (np.where(outside, -np.inf, scores[:, side]) for side in (0, 1))
        for first in np.argsort(-begins, kind="stable")[:BEST]:
            for last in np.argsort(-ends, kind="stable")[:BEST]:
                score = float(begins[first] + ends[last])
                if first <= last < first + LONGEST_ANSWER and score > best[example][0]:
                    best[example] = score, examples.contexts[example][places[first, 0] : places[last, 1]]
    return tuple(text for _, text in best)


def as_predicted(plain: Any, kind: Kind) -> Predictions:
    """Answers as they are scored, from the lists, numbers and texts that they were written down as."""
    if kind == "tokens":
        return tuple(tuple(classes) for classes in plain)
    if kind == "spans":
        return tuple(plain)
    return np.asarray(plain, np.int64) if kind == "classes" else np.asarray(plain, np.float64)
