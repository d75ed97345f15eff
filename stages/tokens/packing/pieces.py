"""Documents to pieces: what the teacher's own tokenizer makes of a document, cut where it is too long for a block.

A document that fits is one piece, read as the teacher was taught to read it. One that does not is cut at the end of a
sentence; where a block's length has none, between two words; where it has none, between two tokens.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sentencex
from tokenizers import Encoding, Tokenizer

from stages.tokens.packing.words import Borders, Tokens, few, tokens_of
from stages.tokens.vocabulary import Vocabulary

_SURELY_LONG = 2
"""Characters of a text for each token that fits in a piece, above which it is tokenised with the places of its tokens
at once: nearly all such texts have to be cut, and tokenising the others without is faster."""


@dataclass(frozen=True, kw_only=True)
class Cutter:
    """How documents become pieces of at most `length` tokens, start and end tokens among them."""

    tokenizer: Tokenizer
    start: tuple[int, ...]
    end: tuple[int, ...]
    """Of every piece."""
    length: int
    language: str
    """Of the text, for the ends of its sentences: ISO 639-1."""
    borders: Borders | None = None
    """How words are found, where their borders are kept."""
    closing: tuple[int, ...] = ()
    """Put behind a document's last token, before it is cut: what a causal model learns to end with."""

    @property
    def inner(self) -> int:
        """Tokens of text that a piece has room for."""
        return self.length - len(self.start) - len(self.end)

    def cut(self, texts: Sequence[str]) -> list[list[Tokens]]:
        """For each document its pieces, without start and end tokens; none for one without tokens."""
        return [pieces for some in few(texts) for pieces in self._cut(some)]

    def _cut(self, texts: Sequence[str]) -> list[list[Tokens]]:
        found: list[list[Tokens] | None] = [None] * len(texts)
        fast = self.borders is None  # which leaves out the places of tokens
        short = [i for i, text in enumerate(texts) if fast and len(text) <= _SURELY_LONG * self.inner]
        encoded = self.tokenizer.encode_batch_fast([texts[i] for i in short], add_special_tokens=False)
        for i, one in zip(short, encoded, strict=True):
            if len(ids := one.ids) + len(self.closing) <= self.inner:
                found[i] = [Tokens(ids).within((), self.closing)] if ids else []
        rest = [i for i, pieces in enumerate(found) if pieces is None]
        placed = self.tokenizer.encode_batch([texts[i] for i in rest], add_special_tokens=False)
        cut = {i: self._pieces(texts[i], one) for i, one in zip(rest, placed, strict=True)}
        return [cut[i] if pieces is None else pieces for i, pieces in enumerate(found)]

    def _pieces(self, text: str, encoded: Encoding) -> list[Tokens]:
        found = tokens_of(text, encoded, self.borders)
        if not len(found):
            return []
        found = found.within((), self.closing)
        if len(found) <= self.inner:
            return [found]
        # A byte-level token may hold the space before its word: a sentence begins with the first token that ends in it.
        ends, words = [end for _, end in encoded.offsets], encoded.word_ids
        sentences = [bisect_right(ends, start) for start in sentence_starts(text, self.language)]
        new_words = [i for i in range(1, len(words)) if words[i] != words[i - 1]]
        return [found.between(begin, end) for begin, end in spans(len(found), self.inner, sentences, new_words)]


def sentence_starts(text: str, language: str) -> list[int]:
    """Where sentences begin, in characters. A full stop, question or exclamation mark of Latin script ends one only
    before white space: formulas and addresses are full of others."""
    found = [one["start_index"] for one in sentencex.get_sentence_boundaries(language, text)]
    return [start for start in found if start == 0 or text[start - 1].isspace() or not text[start - 1].isascii()]


def spans(tokens: int, most: int, *borders: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(begin, end) of pieces of at most `most` of `tokens` tokens, one after the other: each as long as can be and
    ending at one of the first `borders` (ascending places between tokens), or of the next ones, or anywhere."""
    begin = 0
    while tokens - begin > most:
        cuts = (_last(places, begin, begin + most) for places in borders)
        end = next((cut for cut in cuts if cut is not None), begin + most)
        yield begin, end
        begin = end
    yield begin, tokens


def _last(places: Sequence[int], after: int, upto: int) -> int | None:
    index = bisect_right(places, upto) - 1
    return places[index] if index >= 0 and places[index] > after else None


def cutter(
    tokenizer: Tokenizer, vocabulary: Vocabulary, length: int, language: str, borders: Borders | None = None
) -> Cutter:
    """With the start and end tokens that the tokenizer itself puts around a text; where its file names none, with the
    tokens of those roles. For a causal model the end is a document's alone."""
    found = tokenizer.encode(_some_word(tokenizer, vocabulary), add_special_tokens=True)
    text = [i for i, added in enumerate(found.special_tokens_mask) if not added]
    start, end = [] if vocabulary.cls_id is None else [vocabulary.cls_id], [vocabulary.sep_id]
    if text and len(text) < len(found.ids):
        start, end = found.ids[: text[0]], found.ids[text[-1] + 1 :] or (end if vocabulary.causal else [])
    return Cutter(
        tokenizer=tokenizer,
        start=tuple(start),
        end=() if vocabulary.causal else tuple(end),
        length=length,
        language=language,
        borders=borders,
        closing=tuple(end) if vocabulary.causal else (),
    )


def _some_word(tokenizer: Tokenizer, vocabulary: Vocabulary) -> str:
    """One that the vocabulary has: a tokenizer of whole words that knows no unknown one takes no other."""
    words = tokenizer.get_vocab(with_added_tokens=True)
    return min((word for word, number in words.items() if number not in vocabulary.special_ids), default="a")
