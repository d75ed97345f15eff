"""What is masked together: whole words, and spans of them. Whole arrays at a time; no draw is made here.

Both give every position a rank: those of one word, or of one span, have the same. The m positions of the lowest rank
are masked, of the last rank the leftmost: so exactly m are, and only the last word or span is cut.

Shapes: R rows, L block length, W words of the row that has most, N words in all, m masked positions a row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.distillation.data.rows import Rows

P, LONGEST = 0.2, 10
"""Of a span's length in words: geometric, cut off at the longest, so 3.8 on average (SpanBERT, section 3.1)."""
_AT_MOST = np.cumsum((1 - P) ** np.arange(LONGEST)) / np.sum((1 - P) ** np.arange(LONGEST))


@dataclass(frozen=True)
class Words:
    """The words of some rows. A position that is never masked, such as a start or end token or padding, is no part of
    a word's size; a row with fewer than W words has empty ones at its end."""

    of_RL: NDArray[np.int64]
    """Which word of its row each position belongs to."""
    key_RW: NDArray[np.float64]
    """The lower, the sooner a word is masked; infinite for one that never is."""
    size_RW: NDArray[np.int64]
    """How many of its positions may be masked."""
    border_RW: NDArray[np.bool_]
    """Whether no span may reach it from the word before."""


def words_of(blocks: Rows, weight_RL: NDArray[np.float64], uniform_RL: NDArray[np.float64]) -> Words:
    """The words of `blocks`, drawn by the first position's uniform number.

    A word's weight is its heaviest token's. A word occurs no oftener than its rarest token, so count^-smoothing is at
    least that; a mean would let a frequent ending hide a rare stem. Raises ValueError where borders were not kept.
    """
    if blocks.words_RL is None:
        raise ValueError("these blocks were packed without the borders of words: pack them with that tokens.mask_unit")
    rows, length = blocks.ids_RL.shape
    begins_RL = blocks.words_RL != 0
    begins_RL[:, 0] = True
    piece_RL = np.zeros_like(blocks.ids_RL) if blocks.segments_RL is None else blocks.segments_RL
    begins_RL[:, 1:] |= piece_RL[:, 1:] != piece_RL[:, :-1]
    of_RL = np.cumsum(begins_RL, axis=1) - 1
    shape = (rows, int(of_RL[:, -1].max(initial=0)) + 1)
    row_N, first_N = np.nonzero(begins_RL)
    place = (row_N, of_RL[begins_RL])
    starts_N = row_N * length + first_N
    weight_N = np.maximum.reduceat(weight_RL.ravel(), starts_N)
    key_RW, size_RW, border_RW = np.full(shape, np.inf), np.zeros(shape, dtype=np.int64), np.ones(shape, dtype=bool)
    with np.errstate(divide="ignore"):
        key_RW[place] = -np.log1p(-uniform_RL.ravel()[starts_N]) / weight_N
    size_RW[place] = np.add.reduceat((weight_RL > 0).ravel(), starts_N, dtype=np.int64)
    piece_N, never_N = piece_RL.ravel()[starts_N], weight_N == 0
    border_N = never_N.copy()
    border_N[1:] |= never_N[:-1] | (piece_N[1:] != piece_N[:-1]) | (row_N[1:] != row_N[:-1])
    border_RW[place] = border_N
    return Words(of_RL, key_RW, size_RW, border_RW)


def span_lengths(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers from [0, 1) as lengths of spans, in words."""
    return 1 + np.searchsorted(_AT_MOST, uniform, side="right")


def spans_of(words: Words, length_RM: NDArray[np.int64], m: int) -> NDArray[np.float64]:
    """Which span each word is in, (R, W): number k is the one from the k-th word to be drawn on, and infinity is none.

    The k-th word begins a span of `length_RM[:, k]` words, or as many as there are before a border, and those that are
    in a span already stay there; one that is in a span itself begins none (as SpanBERT draws). Each span has a position
    at least, so m words are enough; a row that has its m positions is done.
    """
    order_RK = np.argsort(words.key_RW, axis=1, kind="stable")[:, :m]
    rows, width = words.key_RW.shape
    nearest_RW = np.where(words.border_RW, np.arange(width), width)
    end_RW = np.full((rows, width), width)
    end_RW[:, :-1] = np.minimum.accumulate(nearest_RW[:, :0:-1], axis=1)[:, ::-1]  # the next border behind each word
    size_RW = np.pad(words.size_RW, ((0, 0), (0, LONGEST)))  # so that no span reaches out of the array
    span_RW = np.full((rows, width + LONGEST), m)
    open_R, filled_R, offsets = np.arange(rows), np.zeros(rows, dtype=np.int64), np.arange(LONGEST)
    for k in range(order_RK.shape[1]):
        first_R = order_RK[open_R, k]
        end_R = np.minimum(first_R + length_RM[open_R, k], end_RW[open_R, first_R])
        there = (open_R[:, None], first_R[:, None] + offsets)
        span = span_RW[there]
        new = (span == m) & (span[:, :1] == m) & (there[1] < end_R[:, None])
        span_RW[there] = np.where(new, k, span)
        filled_R[open_R] += np.where(new, size_RW[there], 0).sum(axis=1)
        open_R = open_R[filled_R[open_R] < m]
        if not len(open_R):
            break
    return np.where(span_RW < m, span_RW, np.inf)[:, :width]


def lowest(rank_RW: NDArray[np.float64], words: Words, weight_RL: NDArray[np.float64], m: int) -> NDArray[np.int64]:
    """The positions of the lowest ranks, ascending, (R, m): whole words or spans, and of the last one the leftmost.

    Raises ValueError where a row has fewer than m that may be masked.
    """
    rank_RL = np.where(weight_RL > 0, np.take_along_axis(rank_RW, words.of_RL, axis=1), np.inf)
    last_R1 = np.partition(rank_RL, m - 1, axis=1)[:, m - 1 : m]
    if not np.isfinite(last_R1).all():
        raise ValueError(f"a block has fewer than {m} maskable positions; pack with the same mask rate")
    before_RL, at_RL = rank_RL < last_R1, rank_RL == last_R1
    room_R1 = m - before_RL.sum(axis=1, keepdims=True)
    chosen_RL = before_RL | (at_RL & (np.cumsum(at_RL, axis=1) <= room_R1))
    return np.nonzero(chosen_RL)[1].reshape(len(rank_RL), m)
