"""Held-out blocks with their fixed masks: the same rows and positions for every model, every run and every seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from stages.distillation.data.batch import Batch, micro_batches
from stages.distillation.data.next_token import prepared
from stages.distillation.families.family import LanguageModel
from stages.distillation.models.compiled import uncompiled
from stages.distillation.score import Closeness, Scores, compare, predict, score
from stages.errors import InputError
from stages.tokens.blocks import Blocks
from stages.training.loader import read_rows, rule_for

SEED, RATE = 0, 0.15
"""Held-out masks never follow a run's own seed or mask rate, so that any two runs can be compared."""
LEAST = 8
"""Blocks in half of a held-out text: a score on fewer says next to nothing."""
_NEAR = 64
"""Blocks read at a time in looking for a document's end."""


@dataclass(frozen=True)
class Heldout:
    """Masked held-out micro-batches on a device."""

    batches: tuple[Batch, ...]

    @property
    def rows(self) -> int:
        """Blocks in all."""
        return sum(len(batch.labels_RM) for batch in self.batches)


def heldout(blocks: Blocks, *, most: int, micro_batch: int, device: torch.device) -> Heldout:
    """Up to `most` held-out blocks, spread evenly over the held-out text, masked uniformly (no smoothing), 80/10/10; a
    causal model's are asked for every next token."""
    first, end = blocks.heldout_rows or (0, sum(shard.rows for shard in blocks.heldout))
    rows = np.unique(np.linspace(first, end - 1, min(most, end - first)).astype(np.int64))
    found = read_rows(blocks.folder, blocks.heldout, rows)
    uniform = np.ones(blocks.vocabulary.size, dtype=np.int64)
    rule = rule_for(blocks, uniform, rate=RATE, smoothing=0.0)
    return Heldout(tuple(micro_batches(prepared(found, rows, epoch=0, seed=SEED, rule=rule), micro_batch, device)))


def halves(blocks: Blocks) -> tuple[Blocks, Blocks]:
    """The same blocks twice, to be scored on the one half of the held-out text and on the other: no document, and so no
    block, is in both. The halves are cut where a document ends, as near to the middle as one does.

    Raises `InputError` where that leaves one of them with fewer than `LEAST` blocks.
    """
    rows_there = sum(shard.rows for shard in blocks.heldout)
    for end, start in _cuts(blocks, rows_there):
        if min(end, rows_there - start) >= LEAST:
            return replace(blocks, heldout_rows=(0, end)), replace(blocks, heldout_rows=(start, rows_there))
    raise InputError(
        f"the held-out text, {rows_there:,} blocks, cannot be cut between two documents into halves of {LEAST} blocks "
        "or more, one to score a search's trials on and one to confirm the best: give more text, or a higher "
        "corpus.heldout_fraction."
    )


def _cuts(blocks: Blocks, rows_there: int) -> Iterator[tuple[int, int]]:
    """(End of the first half, start of the second) by distance from the middle.

    A shard's first block begins a document, and so does its `half`. Within a shard of a stream, a block with an end
    inside belongs to neither half: what it begins with may have come from the block before, what it ends with may go
    on in the next.
    """
    middle, near = rows_there // 2, _NEAR
    ends = np.cumsum([shard.rows for shard in blocks.heldout]).tolist()
    starts = {*ends, *(end - s.rows + s.half for end, s in zip(ends, blocks.heldout, strict=True) if s.half)}
    if blocks.packing == "documents":
        yield from sorted(((start, start) for start in starts), key=lambda cut: (abs(cut[0] - middle), cut))
        return
    for away in range(0, middle + 1, near):
        sides = {(max(0, middle - away - near), middle - away), (middle + away, min(rows_there, middle + away + near))}
        rows = np.concatenate([np.arange(*side, dtype=np.int64) for side in sorted(sides)])
        if rows.size:
            ids = read_rows(blocks.folder, blocks.heldout, rows).ids_RL
            inside = (ids[:, 1:-1] == blocks.vocabulary.sep_id).any(axis=1)
            cuts = [(int(row), int(row) + 1) for row in rows[inside]]
            cuts += [(int(row), int(row)) for row in rows if int(row) in starts]
            yield from sorted(cuts, key=lambda cut: (abs(cut[0] - middle), cut))


def score_all(
    model: LanguageModel, held: Heldout, teacher: LanguageModel | None = None
) -> tuple[Scores, Closeness | None]:
    """Per-block scores of a model on held-out text and, where a teacher is given, its closeness to the teacher.

    Leaves the model in the mode (train or eval) it was in.
    """
    was_training = model.training
    model.eval()
    scores, closeness = [], []
    with uncompiled():
        for batch in held.batches:
            prediction = predict(model, batch)
            scores.append(score(prediction, batch))
            if teacher is not None:
                closeness.append(compare(prediction, predict(teacher, batch), batch))
    model.train(was_training)
    joined = Scores(*(torch.cat([getattr(s, name) for s in scores]) for name in ("mlm_loss", "top1")))
    if teacher is None:
        return joined, None
    names = ("kl", "agreement", "cosine")
    return joined, Closeness(*(torch.cat([getattr(c, name) for c in closeness]) for name in names))
