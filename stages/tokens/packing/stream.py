"""All documents in one stream: RoBERTa's full sentences (section 4.2), GPT-2's running text."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stages.distillation.data.rows import Rows
from stages.tokens.packing.words import Borders, few, tokens_of
from stages.tokens.vocabulary import Vocabulary


class Stream:
    """A `Packer` of the packing `stream`: joins documents by the token that ends one and cuts the line; keeps what has
    filled no block yet. A masked model's blocks have a start and an end token around them, a causal one's nothing."""

    def __init__(
        self, tokenizer: Tokenizer, block_length: int, vocabulary: Vocabulary, borders: Borders | None = None
    ) -> None:
        self.tokenizer, self.vocabulary, self.borders = tokenizer, vocabulary, borders
        self.length, self.start = block_length, 0 if vocabulary.cls_id is None else 1
        self.inner = block_length - 2 * self.start
        self.line = array("i")
        self.begins = array("b")
        """Of the tokens in `line`, which begin a word; empty where nobody asks."""

    @property
    def tail(self) -> int:
        return len(self.line)

    def add(self, texts: Sequence[str]) -> tuple[list[Sequence[int]], Rows]:
        encode = self.tokenizer.encode_batch_fast if self.borders is None else self.tokenizer.encode_batch
        encoded = [
            tokens_of(text, one, self.borders)
            for some in few(texts)
            for text, one in zip(some, encode(some, add_special_tokens=False), strict=True)
        ]
        for one in encoded:
            if one.ids:
                joined = one.within((), (self.vocabulary.sep_id,))
                self.line.extend(joined.ids)
                self.begins.extend(joined.begins or ())
        full = len(self.line) // self.inner
        blocks_RL = np.empty((full, self.length), dtype=np.int32)
        if self.vocabulary.cls_id is not None:
            blocks_RL[:, 0], blocks_RL[:, -1] = self.vocabulary.cls_id, self.vocabulary.sep_id
        line = np.array(self.line[: full * self.inner], dtype=np.int32)
        blocks_RL[:, self.start : self.start + self.inner] = line.reshape(full, self.inner)
        del self.line[: full * self.inner]
        return [one.ids for one in encoded], Rows(blocks_RL, None, self._words(full))

    def finish(self) -> Rows:
        return Rows(np.empty((0, self.length), dtype=np.int32), None, self._words(0))

    def _words(self, full: int) -> NDArray[np.uint8] | None:
        """Where words begin in the next `full` blocks; one that a block's end cuts begins anew in the next."""
        if self.borders is None:
            return None
        words_RL = np.ones((full, self.length), dtype=np.uint8)
        begins = np.array(self.begins[: full * self.inner], dtype=np.uint8).reshape(full, self.inner)
        words_RL[:, self.start + 1 : self.start + self.inner] = begins[:, 1:]
        del self.begins[: full * self.inner]
        return words_RL
