"""Examples as a model reads them: token ids, cut where they are too long, and the answers beside them.

Shapes: I inputs (one an example; of a question as many as its text needs windows), N tokens of all inputs laid end to
end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from stages.tasks.examples import Examples, Questions, Texts, Words

IGNORED = -100
"""The label of a token that is asked nothing; torch's own number for it."""
STRIDE = 3
"""Windows over a long text overlap by this part of their length, or an answer might lie across an edge."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All examples of a split, flat, so that Ray shares them between processes without copies."""

    ids_N: NDArray[np.int32]
    types_N: NDArray[np.int8]
    """0 in the first text, 1 in the second."""
    starts_I: NDArray[np.int64]
    """Where each input begins in N; (I + 1,), the last being N."""
    examples_I: NDArray[np.int64]
    """Of which example each input is a part."""
    labels: NDArray[Any]
    """classes: (I,) int64; number: (I,) float64; tokens: (N,) int64, `IGNORED` but at one token a word; spans:
    (I, 2) int64, the answer's first and last token within the input, 0 where it is not in this window."""
    places_N2: NDArray[np.int32]
    """tokens: (number of the word, 0) where it is asked for; spans: (first, end) character in the context. −1
    elsewhere."""
    cut: int
    """Examples of which something was cut off."""

    def __len__(self) -> int:
        return len(self.examples_I)

    @property
    def lengths_I(self) -> NDArray[np.int64]:
        """Tokens of each input."""
        return np.diff(self.starts_I)


def inputs_of(examples: Examples, tokenizer: PreTrainedTokenizerBase, *, longest: int, causal: bool = False) -> Inputs:
    """Encode a split, with at most `longest` tokens an input; for a causal model, whose tokens see nothing behind them,
    a word is asked for at its last token."""
    match examples:
        case Texts():
            return _texts(examples, tokenizer, longest)
        case Words():
            return _words(examples, tokenizer, longest, causal)
        case Questions():
            return _questions(examples, tokenizer, longest)


def _texts(examples: Texts, tokenizer: Any, longest: int) -> Inputs:
    """Two texts that are too long together lose from the longer one."""
    pair = None if examples.second is None else list(examples.second)
    encoded = tokenizer(list(examples.first), pair, truncation=True, max_length=longest, return_overflowing_tokens=True)
    # A window that overflowed is what was cut off: only the first of an example's is read.
    owners = np.asarray(encoded["overflow_to_sample_mapping"], dtype=np.int64)
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    cut = int((np.diff(first, append=len(owners)) > 1).sum())
    return _flat(encoded, first, owners[first], examples.labels, cut=cut)


def _words(examples: Words, tokenizer: Any, longest: int, causal: bool) -> Inputs:
    encoded = tokenizer(
        [list(words) for words in examples.words], is_split_into_words=True, truncation=True, max_length=longest
    )
    labels, places, cut = [], [], 0
    for row, tags in enumerate(examples.labels):
        numbers = [-1 if word is None else word for word in encoded.word_ids(row)]
        beside = [*numbers[1:], -1] if causal else [-1, *numbers[:-1]]
        asked = [number if number != other else -1 for number, other in zip(numbers, beside, strict=True)]
        labels += [IGNORED if number < 0 else tags[number] for number in asked]
        places += [(number, 0 if number >= 0 else -1) for number in asked]
        cut += max(numbers, default=-1) + 1 < len(tags)
    rows = np.arange(len(examples))
    return _flat(encoded, rows, rows, np.asarray(labels, dtype=np.int64), places=places, cut=cut)


def _questions(examples: Questions, tokenizer: Any, longest: int) -> Inputs:
    """A context that is too long comes in windows that overlap; what is left of the question is in each."""
    encoded = tokenizer(
        list(examples.questions),
        list(examples.contexts),
        truncation="only_second",
        max_length=longest,
        stride=longest // STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = np.asarray(encoded["overflow_to_sample_mapping"], dtype=np.int64)
    labels, places = np.zeros((len(owners), 2), dtype=np.int64), []
    for row, owner in enumerate(owners):
        inside = [sequence == 1 for sequence in encoded.sequence_ids(row)]
        spans = [
            span if within else (-1, -1) for span, within in zip(encoded["offset_mapping"][row], inside, strict=True)
        ]
        labels[row] = _span_of(examples.answers[owner], spans)
        places += spans
    return _flat(encoded, np.arange(len(owners)), owners, labels, places=places, cut=0)


def _span_of(answers: tuple[tuple[str, int], ...], spans: list[tuple[int, int]]) -> tuple[int, int]:
    """The first and last token of the first answer, (0, 0) where this window has not the whole of it."""
    if not answers:
        return 0, 0
    text, begin = answers[0]
    end = begin + len(text)
    within = [token for token, (first, last) in enumerate(spans) if first >= 0 and first < end and last > begin]
    if not within or spans[within[0]][0] > begin or spans[within[-1]][1] < end:
        return 0, 0
    return within[0], within[-1]


def _flat(
    encoded: Any,
    rows: NDArray[np.int64],
    owners: NDArray[np.int64],
    labels: NDArray[Any],
    *,
    places: list[tuple[int, int]] | None = None,
    cut: int,
) -> Inputs:
    """The encodings `rows`, laid end to end."""
    kept = [encoded["input_ids"][row] for row in rows]
    types = encoded.get("token_type_ids")
    ids_N = np.fromiter((token for ids in kept for token in ids), dtype=np.int32)
    return Inputs(
        ids_N=ids_N,
        types_N=(
            np.zeros(len(ids_N), dtype=np.int8)
            if types is None
            else np.fromiter((kind for row in rows for kind in types[row]), dtype=np.int8)
        ),
        starts_I=np.cumsum([0, *map(len, kept)], dtype=np.int64),
        examples_I=owners,
        labels=labels,
        places_N2=np.asarray(places if places is not None else np.full((len(ids_N), 2), -1), dtype=np.int32),
        cut=cut,
    )
