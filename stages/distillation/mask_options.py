"""What a config may say of masks; loads nothing."""

from typing import Literal

MaskUnit = Literal["token", "word", "span"]
"""What is masked together. token: each by itself. word: whole words (BERT's whole-word masking). span: runs of whole
words, as long as SpanBERT's (Joshi et al. 2020, section 3.1)."""
MaskRate = float | tuple[float, float]
"""Share of a block's positions that are masked; or the first epoch's and the last's, linear between."""


def ends_of(rate: MaskRate) -> tuple[float, float]:
    """(the first epoch's rate, the last's)."""
    return rate if isinstance(rate, tuple) else (rate, rate)


def rate_in(epoch: int, *, epochs: int, rate: MaskRate) -> float:
    """The rate in `epoch` (from 0) of `epochs`; the first where there is one epoch, the last after the end."""
    if not isinstance(rate, tuple):
        return rate
    done = 0.0 if epochs < 2 else min(1.0, epoch / (epochs - 1))
    return (1 - done) * rate[0] + done * rate[1]  # both ends to the very bit
