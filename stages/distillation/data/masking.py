"""Dynamic masking as a pure function of (seed, epoch, row).

The same block has the same mask whatever the number of workers, the order of reading or a restart, and another mask
in the next epoch. Shapes: R rows, L block length, M masked positions a row, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.distillation.data.rows import Rows

KEEP_FROM, RANDOM_FROM = 0.8, 0.9
"""A chosen position: [MASK] below 0.8, kept from 0.8, a random id from 0.9 (BERT, section 3.1: 80 / 10 / 10 %)."""


@dataclass(frozen=True)
class Masked:
    """A masked batch. `input_ids_RL` is what both models read; `labels_RM` is what stood at `positions_RM`; where the
    pieces lie (None: no borders) is as in `Rows`."""

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
    masked_per_block: int


def masked_per_block(block_length: int, rate: float) -> int:
    """M = floor(rate · (L − 2) + 0.5): a constant, so that every block, micro-batch and worker weighs the same."""
    return int(rate * (block_length - 2) + 0.5)


def mask_rule(
    counts_V: NDArray[np.int64],
    *,
    special_ids: tuple[int, ...],
    mask_id: int,
    block_length: int,
    rate: float = 0.15,
    smoothing: float = 0.7,
) -> MaskRule:
    """The rule for a vocabulary whose tokens were counted `counts_V` times in the corpus.

    A token's weight is max(count, 1)^-smoothing: rare tokens are masked oftener (XLM, section 3.2; the original
    DistilBERT code uses 0.7). smoothing = 0 is uniform, as held-out text is masked.
    """
    weight_V = np.maximum(counts_V, 1).astype(np.float64) ** -smoothing
    weight_V[list(special_ids)] = 0.0
    normal_ids = np.setdiff1d(np.arange(len(counts_V), dtype=np.int32), np.asarray(special_ids, dtype=np.int32))
    return MaskRule(weight_V, normal_ids, mask_id, masked_per_block(block_length, rate))


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

    Exactly M positions a row, drawn without replacement with probability proportional to their token's weight: the
    M smallest of Exp(1) / weight (Efraimidis & Spirakis 2006). Raises ValueError where a block has fewer than M
    maskable positions; packing refuses such blocks.
    """
    ids_RL = blocks.ids_RL
    _, length = ids_RL.shape
    m = rule.masked_per_block
    u = uniforms(rows, epoch, seed, length + 2 * m)
    with np.errstate(divide="ignore"):
        key_RL = -np.log1p(-u[:, :length]) / rule.weight_V[ids_RL]
    positions_RM = np.sort(np.argpartition(key_RL, m - 1, axis=1)[:, :m], axis=1)
    if not np.isfinite(np.take_along_axis(key_RL, positions_RM, axis=1)).all():
        raise ValueError(f"a block has fewer than {m} maskable positions; pack with the same mask rate")
    labels_RM = np.take_along_axis(ids_RL, positions_RM, axis=1)
    fate_RM, pick_RM = u[:, length : length + m], u[:, length + m :]
    random_RM = rule.normal_ids[(pick_RM * len(rule.normal_ids)).astype(np.int64)]
    shown_RM = np.where(fate_RM < KEEP_FROM, rule.mask_id, np.where(fate_RM < RANDOM_FROM, labels_RM, random_RM))
    input_ids_RL = ids_RL.copy()
    np.put_along_axis(input_ids_RL, positions_RM, shown_RM.astype(np.int32), axis=1)
    return Masked(input_ids_RL, positions_RM.astype(np.int32), labels_RM, blocks.segments_RL)
