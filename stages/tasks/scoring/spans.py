"""F1 over the spans that BIO tags mark in sentences, as CoNLL's evaluation and seqeval count them."""

import re

import numpy as np
from numpy.typing import NDArray

from stages.tasks.examples import Rows

Tags = tuple[tuple[int, ...], ...]
_TAG = re.compile(r"O|[BIES](-.+)?")


def marks_spans(tag: str) -> bool:
    """Whether a label is one of BIO, or of IOBES, which marks a span's last word too, and one of a word."""
    return bool(_TAG.fullmatch(tag))


def counted(right: Tags, said: Tags, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """(sentences, 3): of each its spans found, spans said and spans there are. A span counts as found where its type,
    its first and its last word are the truth's."""
    from seqeval.metrics.sequence_labeling import get_entities

    counts = np.zeros((len(right), 3), np.int64)
    for place, (true, guess) in enumerate(zip(right, said, strict=True)):
        if len(true) != len(guess):
            raise ValueError(f"{len(guess)} predictions for the {len(true)} words of sentence {place}")
        there, found = (set(get_entities([classes[tag] for tag in tags])) for tags in (true, guess))
        counts[place] = len(there & found), len(found), len(there)
    return counts


def f1(counts: NDArray[np.int64], rows: Rows | None) -> float:
    """Over all spans of these sentences together; 0 where there are none and none was said."""
    hits, found, there = (counts if rows is None else counts[rows]).sum(0).tolist()
    return 2 * hits / (found + there) if found + there else 0.0
