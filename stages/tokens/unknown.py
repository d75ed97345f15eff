"""What of a text the teacher's tokenizer does not know, and how a person is told."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tokenizers import Tokenizer

NOTICE_RATE = 0.02
"""A share of [UNK] above which every run says so: BERT's own on text that is like its own is far below."""
NAMED = 10
"""How many unknown words are named."""
HINT = (
    "look at the case (a vocabulary may have only one), at the spaces between words and at the normalisation of "
    "accents, or choose a teacher of the text's language"
)
_SAMPLE = 1 << 20
"""Characters of a shard, at most, in which the unknown words are looked up: that takes longer than tokenising."""
_KEPT = 200
_SHOWN = 30


class UnknownWords:
    """Counts a shard's tokens and those that are [UNK], and in a sample of its documents the words behind these."""

    def __init__(self, tokenizer: Tokenizer, unk_id: int | None) -> None:
        self.tokens = self.unknown = 0
        self._tokenizer, self._unk_id = tokenizer, unk_id
        self._words: Counter[str] = Counter()
        self._left = _SAMPLE

    @property
    def words(self) -> dict[str, int]:
        """The commonest unknown words, with how often the sample has them."""
        return dict(self._words.most_common(_KEPT))

    def add(self, texts: Sequence[str], encoded: Sequence[Sequence[int]]) -> None:
        """Take in documents and the ids that they became."""
        for text, ids in zip(texts, encoded, strict=True):
            unknown = 0 if self._unk_id is None else ids.count(self._unk_id)
            self.tokens += len(ids)
            self.unknown += unknown
            if unknown and self._left > 0:
                self._words.update(self._of(text[: self._left]))
                self._left -= len(text)

    def _of(self, text: str) -> Iterator[str]:
        found = self._tokenizer.encode(text, add_special_tokens=False)  # with offsets, which the fast way leaves out
        for token, (start, end) in zip(found.ids, found.offsets, strict=True):
            if token == self._unk_id:
                yield text[start:end] if end - start <= _SHOWN else f"{text[start : start + _SHOWN]}…"


def commonest(counts: Mapping[str, int]) -> tuple[str, ...]:
    """The `NAMED` commonest words; of equally common ones the first in the alphabet."""
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:NAMED])


def complaint(rate: float, words: Sequence[str]) -> str:
    """What is unknown and what to look at, as a part of a sentence; `rate` is a share of the text's tokens."""
    named = f", most often {', '.join(map(repr, words))}" if words else ""
    return f"{rate:.1%} of the text's tokens are unknown to the teacher's tokenizer{named}: {HINT}"
