"""Held-out sentences in which a word is left out, and what teacher and student put there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer

from stages.corpus.artifact import Corpus
from stages.corpus.documents import documents
from stages.models import model_in
from stages.storage import Folder
from stages.tokens.loading import load_tokenizer
from stages.tokens.packing.pieces import sentence_starts
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.vocabulary import Vocabulary, vocabulary_of

T = TypeVar("T")
WANTED, LOOKED_AT, SHARDS = 6, 60, 6
"""Sentences that are shown; documents that they are looked for in; files that these are read from."""
TOP = 3
"""Likeliest tokens that are shown of each model."""
FEWEST, MOST = 9, 40
"""Tokens of a sentence."""
LETTERS = 0.9
"""Share of a sentence's characters that are letters or spaces: less is a table or code."""
LONG = 4
"""Letters of a word that says something."""


@dataclass(frozen=True)
class Filling:
    """A token that a model would put there, its probability, and whether it is the one that stood there."""

    token: str
    probability: float
    right: bool

    @property
    def share(self) -> str:
        """The probability as it is shown."""
        return f"{self.probability:.1%}"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A sentence cut at the word that was left out; a causal model sees only what is before."""

    before: str
    word: str
    after: str
    teacher: tuple[Filling, ...]
    """The `TOP` likeliest, the likeliest first."""
    student: tuple[Filling, ...]

    @property
    def pairs(self) -> tuple[tuple[Filling, Filling], ...]:
        """Both models' likeliest, both models' second, and so on."""
        return tuple(zip(self.teacher, self.student, strict=True))


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The same before anybody filled it: the sentence's token ids and the place that is asked for."""

    before: str
    word: str
    after: str
    ids: tuple[int, ...]
    place: int


def examples(corpus: Corpus, teacher: Folder, student: Folder, *, causal: bool) -> tuple[Example, ...]:
    """Up to `WANTED` sentences spread over the held-out text, one a document, filled by both models on a CPU; none
    where the text has no sentence that fits. Literal special tokens in the text are text, as in packing."""
    with student.as_local() as local:
        tokenizer: Any = load_tokenizer(local)
    vocabulary = vocabulary_of(tokenizer, causal=causal)
    backend = text_tokenizer(tokenizer.backend_tokenizer.to_str(), vocabulary)
    found = [gap for text in heldout_texts(corpus) if (gap := first_gap(text, backend, corpus.language)) is not None]
    gaps = spread(found, WANTED)
    theirs, ours = (fillings(folder, gaps, tokenizer, vocabulary) for folder in (teacher, student))
    return tuple(
        Example(before=gap.before, word=gap.word, after="" if causal else gap.after, teacher=t, student=s)
        for gap, t, s in zip(gaps, theirs, ours, strict=True)
    )


def heldout_texts(corpus: Corpus) -> list[str]:
    """Documents spread over the held-out text, or rather over the beginnings of its files."""
    names = spread(corpus.heldout_shards, SHARDS)
    return spread([text for name in names for text in next(documents(corpus.folder, name), [])], LOOKED_AT)


def spread(values: Sequence[T], most: int) -> list[T]:
    """Up to `most` of them, evenly spaced."""
    count = min(most, len(values))
    return [values[(2 * i + 1) * len(values) // (2 * count)] for i in range(count)]


def first_gap(text: str, tokenizer: Tokenizer, language: str) -> Gap | None:
    """The first sentence of a document that a person reads easily, with a word left out; None where it has none."""
    for sentence in sentences(text, language):
        letters = sum(character.isalpha() or character == " " for character in sentence)
        ends = sentence[-1:] and not sentence[-1].isalnum()  # else it is a title
        if ends and letters >= LETTERS * len(sentence) and (gap := gap_of(sentence, tokenizer)) is not None:
            return gap
    return None


def sentences(text: str, language: str) -> Iterator[str]:
    """A document's sentences, white space made one blank."""
    starts = [*sentence_starts(text, language), len(text)]
    return (" ".join(text[begin:end].split()) for begin, end in pairwise(starts))


def gap_of(sentence: str, tokenizer: Tokenizer) -> Gap | None:
    """The word left out is one token; a whole word of some letters where there is one, the nearest to the middle."""
    encoded = tokenizer.encode(sentence, add_special_tokens=False)
    if not FEWEST <= len(encoded.ids) <= MOST:
        return None
    places: list[tuple[bool, int, int, int, int]] = []
    for place, (begin, end) in enumerate(encoded.offsets):
        begin += len(sentence[begin:end]) - len(sentence[begin:end].lstrip())  # a byte-level token has its space
        word = sentence[begin:end]
        if place == 0 or not word.isalpha():
            continue
        inside = sentence[begin - 1 : begin].isalpha() or sentence[end : end + 1].isalpha()
        places.append((inside or len(word) < LONG, abs(2 * place - len(encoded.ids)), place, begin, end))
    if not places:
        return None
    _, _, place, begin, end = min(places)
    return Gap(
        before=sentence[:begin], word=sentence[begin:end], after=sentence[end:], ids=tuple(encoded.ids), place=place
    )


@torch.inference_mode()
def fillings(folder: Folder, gaps: Sequence[Gap], tokenizer: Any, vocabulary: Vocabulary) -> list[tuple[Filling, ...]]:
    """What a model puts into each gap."""
    with folder.as_local() as local:
        model: Any = model_in(local).eval()
    found = []
    for gap in gaps:
        ids, asked = asked_of(gap, vocabulary)
        top = model(input_ids=torch.tensor([ids])).logits[0, asked].softmax(-1).topk(TOP)
        right = gap.ids[gap.place]
        found.append(
            tuple(
                Filling(tokenizer.decode([i]).strip() or tokenizer.convert_ids_to_tokens(i), probability, i == right)
                for i, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
            )
        )
    return found


def asked_of(gap: Gap, vocabulary: Vocabulary) -> tuple[list[int], int]:
    """(token ids as a model reads them, the place at which its prediction is looked at)."""
    if vocabulary.mask_id is None:
        return list(gap.ids[: gap.place]), gap.place - 1
    start = [] if vocabulary.cls_id is None else [vocabulary.cls_id]
    ids = [*start, *gap.ids[: gap.place], vocabulary.mask_id, *gap.ids[gap.place + 1 :], vocabulary.sep_id]
    return ids, len(start) + gap.place
