"""SQuAD's two metrics: whether an answer is one of the right ones, and how many words it shares with the nearest.

Rajpurkar et al. 2016, section 6.1: both after lower-casing and without punctuation and articles; over several right
answers the best counts.
"""

import re
import string
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Questions

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Of each question, in 0..1, (questions,)."""

    em: NDArray[np.float64]
    f1: NDArray[np.float64]


def counted(truth: Questions, said: tuple[str, ...]) -> Answered:
    """Counted once for the predictions, however often they are resampled."""
    em, f1 = np.zeros(len(truth)), np.zeros(len(truth))
    for place, (right, answer) in enumerate(zip(truth.answers, said, strict=True)):
        words = _words(answer)
        each = [_words(text) for text, _ in right]
        em[place] = float(words in each)
        f1[place] = max(_shared(words, one) for one in each)
    return Answered(em=em, f1=f1)


def _words(text: str) -> list[str]:
    """What is compared: equal texts after normalisation are equal lists of words."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _shared(said: list[str], right: list[str]) -> float:
    """F1 of the words, counted with repeats; 0 where none is shared."""
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right)) if common else 0.0
