"""All documents in one stream: RoBERTa's full sentences (section 4.2)."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from stages.distillation.data.rows import Rows
from stages.tokens.vocabulary import Vocabulary


class Stream:
    """A `Packer` of the packing `stream`: joins documents by [SEP] and cuts the line; keeps what has filled no block
    yet."""

    def __init__(self, tokenizer: Tokenizer, block_length: int, vocabulary: Vocabulary) -> None:
        self.tokenizer, self.inner, self.vocabulary = tokenizer, block_length - 2, vocabulary
        self.line: list[int] = []

    @property
    def tail(self) -> int:
        return len(self.line)

    def add(self, texts: Sequence[str]) -> tuple[list[list[int]], Rows]:
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        for ids in encoded:
            if ids:
                self.line.extend(ids)
                self.line.append(self.vocabulary.sep_id)
        full = len(self.line) // self.inner
        blocks_RL = np.empty((full, self.inner + 2), dtype=np.int32)
        blocks_RL[:, 0], blocks_RL[:, -1] = self.vocabulary.cls_id, self.vocabulary.sep_id
        blocks_RL[:, 1:-1] = np.array(self.line[: full * self.inner], dtype=np.int32).reshape(full, self.inner)
        del self.line[: full * self.inner]
        return encoded, Rows(blocks_RL)

    def finish(self) -> Rows:
        return Rows(np.empty((0, self.inner + 2), dtype=np.int32))
