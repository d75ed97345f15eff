"""Every document by itself: cut into pieces where it is too long, and packed with others by best fit."""

from array import array
from collections.abc import Sequence
from itertools import chain

from stages.distillation.data.rows import Rows
from stages.tokens.packing.best_fit import BestFit
from stages.tokens.packing.pieces import Cutter
from stages.tokens.vocabulary import Vocabulary


class Documents:
    """A `Packer` of the packing `documents`: nothing is left over, the last block is as full as it can be."""

    tail = 0

    def __init__(self, cutter: Cutter, vocabulary: Vocabulary) -> None:
        self.cutter = cutter
        self.fit = BestFit(cutter.length, vocabulary.pad_id, cutter.borders is not None)

    def add(self, texts: Sequence[str]) -> tuple[list[Sequence[int]], Rows]:
        start, end = self.cutter.start, self.cutter.end
        cut = self.cutter.cut(texts)
        rows = self.fit.add(piece.within(start, end) for pieces in cut for piece in pieces)
        whole = [array("i", chain.from_iterable(piece.ids for piece in pieces)) for pieces in cut]
        closing = len(self.cutter.closing)
        return [ids[: len(ids) - closing] for ids in whole], rows

    def finish(self) -> Rows:
        return self.fit.finish()
