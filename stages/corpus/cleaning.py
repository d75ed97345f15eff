"""Documents that are hardly text, by rules that the makers of large corpora have published; each step is a choice.

short and symbols: Gopher's of quality (Rae et al. 2021, appendix A.1.1), and C4's of braces and filler (Raffel et al.
2020, section 2.2). repetition: Gopher's table A1, but for what goes by lines: a document is one line here. Words are
what stands between spaces. Symbols' and repetition's shares are of a document's words, or of its characters.
"""

from collections import Counter
from dataclasses import dataclass

from stages.corpus.config import CleaningStep

FEWEST_WORDS = 50
WORD_LENGTH = (3.0, 10.0)
"""Characters of a word on average, at least and at most."""
MOST_SYMBOLS, FEWEST_ALPHABETIC = 0.1, 0.8
"""Of `SYMBOLS` for each word; share of the words with a letter."""
SYMBOLS = ("#", "...", "…")
FILLER = ("lorem ipsum", "{")
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
"""n: the share of the characters that its commonest sequence of n words may take."""
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""n: the share that sequences of n words may take that were there before."""
SAMPLES, SAMPLE_CHARACTERS = 10, 200


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """What a step dropped: how many documents, and the beginnings of the first ones."""

    step: str
    documents: int
    samples: tuple[str, ...]


def why_dropped(text: str, steps: tuple[CleaningStep, ...]) -> CleaningStep | None:
    """The first of `steps` by which a document goes; None where it stays."""
    if not steps:
        return None
    words = text.split()
    rules = {"short": _is_short, "symbols": _has_symbols, "repetition": _repeats}
    return next((step for step in steps if rules[step](text, words)), None)


class Tally:
    """Counts what is dropped, and keeps the first of each step."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}

    def add(self, step: str, text: str) -> None:
        """One document."""
        self.join(Dropped(step=step, documents=1, samples=(text[:SAMPLE_CHARACTERS],)))

    def join(self, other: Dropped) -> None:
        """What a later task dropped."""
        documents, samples = self._found.get(other.step, (0, []))
        self._found[other.step] = documents + other.documents, [*samples, *other.samples][:SAMPLES]

    @property
    def dropped(self) -> list[Dropped]:
        """By step."""
        return [
            Dropped(step=step, documents=documents, samples=tuple(samples))
            for step, (documents, samples) in sorted(self._found.items())
        ]


def _is_short(_: str, words: list[str]) -> bool:
    return len(words) < FEWEST_WORDS


def _has_symbols(text: str, words: list[str]) -> bool:
    if not words or any(filler in text.lower() for filler in FILLER):
        return True
    symbols = sum(map(text.count, SYMBOLS))
    alphabetic = sum(any(map(str.isalpha, word)) for word in words)
    least, most = WORD_LENGTH
    return (
        not least <= sum(map(len, words)) / len(words) <= most
        or symbols > MOST_SYMBOLS * len(words)
        or alphabetic < FEWEST_ALPHABETIC * len(words)
    )


def _repeats(text: str, words: list[str]) -> bool:
    return any(_top(words, n) > share * len(text) for n, share in TOP.items()) or any(
        _repeated(words, n) > share * len(text) for n, share in DUPLICATE.items()
    )


def _top(words: list[str], n: int) -> int:
    """Characters of the commonest sequence of n words, all its places together; 0 where each is there but once."""
    found = Counter(_sequences(words, n)).most_common(1)
    return len(found[0][0]) * found[0][1] if found and found[0][1] > 1 else 0


def _repeated(words: list[str], n: int) -> int:
    """Characters of sequences of n words that were there before, none counted twice."""
    seen: set[str] = set()
    taken = place = 0
    sequences = _sequences(words, n)
    while place < len(sequences):
        if sequences[place] in seen:
            taken += len(sequences[place])
            place += n
        else:
            seen.add(sequences[place])
            place += 1
    return taken


def _sequences(words: list[str], n: int) -> list[str]:
    return [" ".join(words[place : place + n]) for place in range(len(words) - n + 1)]
