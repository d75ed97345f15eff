"""Where words begin: what is masked together has to be known where the text is, since ids alone do not tell.

Words are the tokenizer's own: the parts into which it cuts a text before it looks into its vocabulary (BERT's: at
spaces, at punctuation, around each Chinese character), of which WordPiece's `##` goes on with one. Where it cuts at
nothing (some BPE and Unigram ones), a word begins with a token that has the space's mark, `Ġ` or `▁`. Chinese models
work on characters, and a word there is what jieba makes of the text.
"""

import importlib.util
import json
import logging
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Encoding

from stages.errors import ConfigError
from stages.tokens.config import TokensConfig

Borders = Callable[[str, Encoding], list[int]]
"""(a text, what the tokenizer made of it, with the places of its tokens) to 1 for each token that begins a word and 0
for one that goes on with it; the first of a text begins one."""

AT_ONCE = 1 << 20
"""Characters of text that are tokenised together."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A document's tokens, or a piece's: their ids, and which of them begin a word (None: nobody asks). Kept as numbers
    of a machine, 4 bytes and 1, since a task holds some ten million of them: as Python's they were 36 bytes."""

    ids: Sequence[int]
    begins: Sequence[int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _packed("i", self.ids))
        object.__setattr__(self, "begins", None if self.begins is None else _packed("b", self.begins))

    def __len__(self) -> int:
        return len(self.ids)

    def between(self, begin: int, end: int) -> "Tokens":
        """A part; its first token begins a word, even where a word is cut."""
        return Tokens(self.ids[begin:end], None if self.begins is None else [1, *self.begins[begin + 1 : end]])

    def within(self, start: Sequence[int], end: Sequence[int]) -> "Tokens":
        """With special tokens before and behind, each a word by itself."""
        begins = None if self.begins is None else [*[1] * len(start), *self.begins, *[1] * len(end)]
        return Tokens([*start, *self.ids, *end], begins)


def _packed(kind: str, numbers: Sequence[int]) -> Sequence[int]:
    return numbers if isinstance(numbers, array) else array(kind, numbers)


def few(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Documents in lists of about `AT_ONCE` characters: what the tokenizer makes of a text, with the places of its
    tokens, takes some fifty bytes a character until the ids have been taken from it."""
    begin = held = 0
    for end, text in enumerate(texts, 1):
        held += len(text)
        if held >= AT_ONCE:
            yield texts[begin:end]
            begin, held = end, 0
    if begin < len(texts):
        yield texts[begin:]


def tokens_of(text: str, encoded: Encoding, borders: Borders | None) -> Tokens:
    """What the tokenizer made of a text, without special tokens."""
    return Tokens(encoded.ids, None if borders is None else borders(text, encoded))


def borders_of(config: TokensConfig, tokenizer_json: str, language: str) -> Borders | None:
    """How a tokenizer's words are found in text of this language; None where tokens are masked one by one."""
    if config.mask_unit == "token":
        return None
    check_words(config, language)
    return partial(by_segments, _jieba()) if is_chinese(language) else partial(by_tokenizer, space_mark(tokenizer_json))


def check_words(config: TokensConfig, language: str) -> None:
    """Raise `ConfigError` where words of this language cannot be told here."""
    if config.mask_unit != "token" and is_chinese(language) and importlib.util.find_spec("jieba") is None:
        rule = "needs jieba for Chinese words: pip install jieba, on every machine, or set it to token"
        raise ConfigError("tokens.mask_unit", config.mask_unit, rule)


def is_chinese(language: str) -> bool:
    """Whether `corpus.language` means Chinese, be it zh, zh-TW or zh_Hans."""
    return language.lower().replace("_", "-").split("-")[0] == "zh"


def space_mark(tokenizer_json: str) -> str | None:
    """What this tokenizer writes for the space before a word; None where it writes nothing."""
    said = json.loads(tokenizer_json)
    if said["model"]["type"] not in ("BPE", "Unigram"):
        return None
    return "Ġ" if '"ByteLevel"' in json.dumps([said.get("pre_tokenizer"), said.get("decoder")]) else "▁"


def by_tokenizer(mark: str | None, text: str, encoded: Encoding) -> list[int]:
    """The tokenizer's own words. `Borders` once `mark` is given."""
    words, tokens = encoded.word_ids, encoded.tokens if mark else ()
    begins = [int(i == 0 or words[i] != words[i - 1]) for i in range(len(words))]
    return [int(b or t.startswith(mark)) for b, t in zip(begins, tokens, strict=True)] if mark else begins


def by_segments(jieba: Any, text: str, encoded: Encoding) -> list[int]:
    """Jieba's words, by the last character of each token: one may hold the space before. `Borders` once given jieba."""
    ends = list(accumulate(map(len, jieba.cut(text))))
    words = [bisect_right(ends, end - 1) for _, end in encoded.offsets]
    return [int(i == 0 or words[i] != words[i - 1]) for i in range(len(words))]


@cache
def _jieba() -> Any:
    """A tokenizer of jieba's with its own dictionary: a second to make, so once a process."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    made = jieba.Tokenizer()
    with TemporaryDirectory() as folder:  # else it reads a cache that anybody may have left in the machine's
        made.tmp_dir = folder
        made.initialize()
    return made
