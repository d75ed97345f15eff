"""Dynamic masking as a pure function of (seed, epoch, row).

The same block has the same mask whatever the number of workers, the order of reading or a restart, and another mask
in the next epoch. Shapes: R rows, L block length, M masked positions a row, V vocabulary, W words of a row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.distillation.data.rows import Rows
from stages.distillation.data.units import Words, lowest, span_lengths, spans_of, words_of
from stages.distillation.mask_options import MaskRate, MaskUnit, rate_in

KEEP_FROM, RANDOM_FROM = 0.8, 0.9
"""A chosen position: [MASK] below 0.8, kept from 0.8, a random id from 0.9 (BERT, section 3.1: 80 / 10 / 10 %)."""

AT_ONCE = 256
"""Rows that are masked together: what is held meanwhile stays small, some of it in a cache."""


@dataclass(frozen=True)
class Masked:
    """A masked batch. `input_ids_RL` is what both models read; `labels_RM` is what stood at `positions_RM`, or stands
    behind them where the next token is asked for (`next_token.py`); where the pieces lie (None: no borders) is as in
    `Rows`."""

    input_ids_RL: NDArray[np.int32]
    positions_RM: NDArray[np.int32]
    labels_RM: NDArray[np.int32]
    segments_RL: NDArray[np.int16] | None = None


@dataclass(frozen=True)
class MaskRule:
    """Which tokens are masked, and how many in a block of `block_length`: all that the vocabulary decides, once."""

    weight_V: NDArray[np.float64]
    """Relative probability of each token id to be chosen; 0 for ids that never are."""
    normal_ids: NDArray[np.int32]
    """The ids a random replacement is drawn from: all but the special ones."""
    mask_id: int
    by_epoch: tuple[int, ...]
    """M in each epoch, and the last's in any further one."""
    unit: MaskUnit = "token"

    @property
    def filler_id(self) -> int:
        """What blocks are filled with whose gradients are thrown away."""
        return self.mask_id

    @property
    def most(self) -> int:
        """The largest M of any epoch."""
        return max(self.by_epoch)

    def masked(self, epoch: int) -> int:
        """M: how many positions of a block are masked in `epoch`, whatever the block, the worker and the unit."""
        return self.by_epoch[min(epoch, len(self.by_epoch) - 1)]


def masked_per_block(block_length: int, rate: float) -> int:
    """M = floor(rate · (L − 2) + 0.5): a constant, so that every block, micro-batch and worker weighs the same."""
    return int(rate * (block_length - 2) + 0.5)


def mask_rule(
    counts_V: NDArray[np.int64],
    *,
    special_ids: tuple[int, ...],
    mask_id: int,
    block_length: int,
    rate: MaskRate = 0.15,
    epochs: int = 1,
    smoothing: float = 0.7,
    unit: MaskUnit = "token",
) -> MaskRule:
    """The rule for a vocabulary whose tokens were counted `counts_V` times in the corpus.

    A token's weight is max(count, 1)^-smoothing: rare tokens are masked oftener (XLM, section 3.2; the original
    DistilBERT code uses 0.7). smoothing = 0 is uniform, as held-out text is masked. A `rate` of two numbers goes from
    the first to the second over `epochs`.
    """
    weight_V = np.maximum(counts_V, 1).astype(np.float64) ** -smoothing
    weight_V[list(special_ids)] = 0.0
    normal_ids = np.setdiff1d(np.arange(len(counts_V), dtype=np.int32), np.asarray(special_ids, dtype=np.int32))
    rates = [rate_in(epoch, epochs=epochs, rate=rate) for epoch in range(epochs)]
    return MaskRule(weight_V, normal_ids, mask_id, tuple(masked_per_block(block_length, one) for one in rates), unit)


def uniforms(rows: NDArray[np.int64], epoch: int, seed: int, draws: int) -> NDArray[np.float64]:
    """`draws` numbers in [0, 1) for each row, from one Philox stream a row keyed by (seed, epoch, row).

    The counter's two low words are left to the stream itself, so streams of different rows or epochs never meet.
    """
    philox = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64))
    generator, state = np.random.Generator(philox), philox.state
    state["state"]["counter"][2] = epoch
    out = np.empty((len(rows), draws))
    for i, row in enumerate(rows):
        state["state"]["counter"][3] = row
        philox.state = state  # ten times cheaper than a new Philox; also forgets what the last row left buffered
        generator.random(out=out[i])
    return out


def mask(blocks: Rows, rows: NDArray[np.int64], *, epoch: int, seed: int, rule: MaskRule) -> Masked:
    """Mask the `blocks`, whose stable row numbers are `rows`, as they are seen in `epoch`.

    Exactly M positions a row; tokens, or words, are drawn without replacement with probability proportional to their
    weight: the smallest of Exp(1) / weight (Efraimidis & Spirakis 2006). Each masked token has a fate of its own, as
    within BERT's whole words, but the tokens of a span share one, as SpanBERT's do; random ids are drawn one by one.
    Raises ValueError where a block has fewer than M maskable positions; packing refuses such blocks.
    """
    starts = range(0, max(1, len(rows)), AT_ONCE)
    made = [_mask(blocks[i : i + AT_ONCE], rows[i : i + AT_ONCE], epoch, seed, rule) for i in starts]
    ids, positions, labels = (np.concatenate(arrays) for arrays in zip(*made, strict=True))
    return Masked(ids, positions, labels, blocks.segments_RL)


def _mask(
    blocks: Rows, rows: NDArray[np.int64], epoch: int, seed: int, rule: MaskRule
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """(ids to be read, masked positions, what stood there)."""
    ids_RL, m = blocks.ids_RL, rule.masked(epoch)
    length = ids_RL.shape[1]
    u = uniforms(rows, epoch, seed, length + (3 if rule.unit == "span" else 2) * m)
    fate_RM, pick_RM = u[:, length : length + m], u[:, length + m : length + 2 * m]
    weight_RL = rule.weight_V[ids_RL]
    if rule.unit == "token":
        positions_RM = _tokens(weight_RL, u[:, :length], m)
    else:
        words = words_of(blocks, weight_RL, u[:, :length])
        rank_RW = words.key_RW if rule.unit == "word" else spans_of(words, span_lengths(u[:, length + 2 * m :]), m)
        positions_RM = lowest(rank_RW, words, weight_RL, m)
        if rule.unit == "span":
            fate_RM = _shared(fate_RM, rank_RW, words, positions_RM)
    labels_RM = np.take_along_axis(ids_RL, positions_RM, axis=1)
    random_RM = rule.normal_ids[(pick_RM * len(rule.normal_ids)).astype(np.int64)]
    shown_RM = np.where(fate_RM < KEEP_FROM, rule.mask_id, np.where(fate_RM < RANDOM_FROM, labels_RM, random_RM))
    input_ids_RL = ids_RL.copy()
    np.put_along_axis(input_ids_RL, positions_RM, shown_RM.astype(np.int32), axis=1)
    return input_ids_RL, positions_RM.astype(np.int32), labels_RM


def _tokens(weight_RL: NDArray[np.float64], uniform_RL: NDArray[np.float64], m: int) -> NDArray[np.int64]:
    """The positions of the M tokens that are drawn, ascending, (R, M)."""
    with np.errstate(divide="ignore"):
        key_RL = -np.log1p(-uniform_RL) / weight_RL
    positions_RM = np.sort(np.argpartition(key_RL, m - 1, axis=1)[:, :m], axis=1)
    if not np.isfinite(np.take_along_axis(key_RL, positions_RM, axis=1)).all():
        raise ValueError(f"a block has fewer than {m} maskable positions; pack with the same mask rate")
    return positions_RM


def _shared(
    fate_RM: NDArray[np.float64], span_RW: NDArray[np.float64], words: Words, positions_RM: NDArray[np.int64]
) -> NDArray[np.float64]:
    """For each masked position the fate of its span, (R, M): span k's is number k."""
    word_RM = np.take_along_axis(words.of_RL, positions_RM, axis=1)
    span_RM = np.take_along_axis(span_RW, word_RM, axis=1).astype(np.int64)
    return np.take_along_axis(fate_RM, span_RM, axis=1)
