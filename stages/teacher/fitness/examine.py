"""One batch of real held-out text for a teacher, before anything is learned from it.

Weights may be whole, of the right shape, and still those of no language model: trained on other ids than the
tokenizer's, never trained, or overflowing. Some thousand tokens tell.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from stages.distillation.families.family import LanguageModel
from stages.distillation.score import predict, score
from stages.errors import InputError
from stages.evaluation.artifact import LOSS
from stages.evaluation.heldout import heldout
from stages.models import load_model
from stages.teacher.artifact import Teacher
from stages.tokens.blocks import Blocks

TAG = "teacher_warning"
"""Of the run in MLflow, where the teacher is no better than guessing: the sentence."""
_TOKENS = 1024
"""Of the batch, about: some 150 of them masked, whose mean loss is known to about 0.2 nats."""


def examine(teacher: LanguageModel, name: str, blocks: Blocks) -> str | None:
    """A sentence where the teacher predicts tokens no better than their frequencies do; None where it does.

    Raises `InputError` where its logits are not finite. Computed in fp32 on this process's CPU.
    """
    rows = max(1, _TOKENS // blocks.block_length)
    (batch,) = heldout(blocks, most=rows, micro_batch=rows, device=torch.device("cpu")).batches
    prediction = predict(teacher, batch)
    if not bool(prediction.log_p(batch.asked_index()).isfinite().all()):
        raise InputError(
            f"the teacher ({name}) gives logits that are not finite on held-out text: its weights are damaged or "
            "overflow; choose another teacher."
        )
    loss = float(score(prediction, batch).mlm_loss.mean())
    never = set(blocks.vocabulary.special_ids) - ({blocks.vocabulary.sep_id} if blocks.vocabulary.causal else set())
    guessing = entropy(blocks.counts(), tuple(never))
    if loss < guessing:
        return None
    kind, loss_name = ("", LOSS["causal"]) if blocks.vocabulary.causal else ("masked ", LOSS["masked"])
    return (
        f"the teacher ({name}) is no better than guessing: on {len(batch.labels())} {kind}tokens of held-out text "
        f"its {loss_name} is {loss:.2f} nats, and guessing by frequency has {guessing:.2f}; see that its weights, "
        "its tokenizer and the corpus belong together."
    )


def examined(teacher: Teacher, blocks: Blocks) -> str | None:
    """The same of a teacher on storage."""
    return examine(load_model(teacher.folder, torch.float32, torch.device("cpu")).eval(), teacher.name, blocks)


def entropy(counts_V: NDArray[np.int64], never_asked: tuple[int, ...]) -> float:
    """Of the tokens that are asked for, by their frequency, in nats: the loss of who knows the frequencies alone."""
    counts = np.delete(counts_V, list(never_asked)).astype(np.float64)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())
