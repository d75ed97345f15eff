"""Held-out blocks with their fixed masks: the same rows and positions for every model, every run and every seed."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.distillation.data.batch import Batch, micro_batches
from stages.distillation.data.masking import mask, mask_rule
from stages.distillation.models.compiled import uncompiled
from stages.distillation.models.family import MaskedLM
from stages.distillation.score import Closeness, Scores, compare, predict, score
from stages.tokens.blocks import Blocks
from stages.training.loader import read_rows

SEED, RATE = 0, 0.15
"""Held-out masks never follow a run's own seed or mask rate, so that any two runs can be compared."""


@dataclass(frozen=True)
class Heldout:
    """Masked held-out micro-batches on a device."""

    batches: tuple[Batch, ...]

    @property
    def rows(self) -> int:
        """Blocks in all."""
        return sum(len(batch.labels_RM) for batch in self.batches)


def heldout(blocks: Blocks, *, most: int, micro_batch: int, device: torch.device) -> Heldout:
    """Up to `most` held-out blocks, spread evenly over the held-out text, masked uniformly (no smoothing), 80/10/10."""
    rows_there = sum(shard.rows for shard in blocks.heldout)
    rows = np.unique(np.linspace(0, rows_there - 1, min(most, rows_there)).astype(np.int64))
    found = read_rows(blocks.folder, blocks.heldout, rows)
    rule = mask_rule(
        np.ones(blocks.vocabulary.size, dtype=np.int64),
        special_ids=blocks.vocabulary.special_ids,
        mask_id=blocks.vocabulary.mask_id,
        block_length=blocks.block_length,
        rate=RATE,
        smoothing=0.0,
    )
    return Heldout(tuple(micro_batches(mask(found, rows, epoch=0, seed=SEED, rule=rule), micro_batch, device)))


def score_all(model: MaskedLM, held: Heldout, teacher: MaskedLM | None = None) -> tuple[Scores, Closeness | None]:
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
