"""How good a masked language model is on masked blocks, and how close to another: sums to be averaged by the caller.

Shapes: R rows, L length, M masked positions a row, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.distillation.data.batch import Batch
from stages.distillation.data.rows import PADDING
from stages.distillation.data.segments import Segments
from stages.distillation.models.family import MaskedLM, decoder, encode, head_input


@dataclass(frozen=True)
class Prediction:
    """What a model says of one batch: log-probabilities at the masked positions and the last hidden states."""

    log_p_RMV: Tensor
    hidden_RLD: Tensor


@dataclass(frozen=True)
class Scores:
    """Per-row means over the masked positions, each (R,) in fp64."""

    mlm_loss: Tensor
    """Negative log-likelihood of the masked tokens, in nats."""
    top1: Tensor
    """Share of masked tokens that the model ranks first."""


@dataclass(frozen=True)
class Closeness:
    """Student against teacher: per-row means, each (R,) in fp64."""

    kl: Tensor
    """KL(teacher ‖ student) at T = 1 over the masked positions, in nats."""
    agreement: Tensor
    """Share of masked positions where both rank the same token first."""
    cosine: Tensor
    """Cosine between last hidden states over all positions but padding."""


@torch.inference_mode()
def predict(model: MaskedLM, batch: Batch) -> Prediction:
    """The model's prediction for a batch, in the precision of its weights, log-probabilities in fp32."""
    hidden = encode(model, batch.input_ids_RL, batch.segments)
    chosen = hidden.flatten(0, 1)[batch.masked_index()]
    logits = decoder(model)(head_input(model, chosen)).float()
    return Prediction(torch.log_softmax(logits, -1).unflatten(0, batch.labels_RM.shape), hidden)


@torch.inference_mode()
def score(prediction: Prediction, batch: Batch) -> Scores:
    """Loss and top-1 of a prediction on the tokens that were masked."""
    picked = prediction.log_p_RMV.gather(-1, batch.labels_RM.unsqueeze(-1)).squeeze(-1)
    hits = prediction.log_p_RMV.argmax(-1) == batch.labels_RM
    return Scores(-picked.double().mean(1), hits.double().mean(1))


@torch.inference_mode()
def compare(student: Prediction, teacher: Prediction, batch: Batch) -> Closeness:
    """How close the student's prediction is to the teacher's on the same batch."""
    kl = (teacher.log_p_RMV.exp() * (teacher.log_p_RMV - student.log_p_RMV)).sum(-1)
    agree = student.log_p_RMV.argmax(-1) == teacher.log_p_RMV.argmax(-1)
    cosine = nn.functional.cosine_similarity(student.hidden_RLD.float(), teacher.hidden_RLD.float(), dim=-1)
    return Closeness(kl.double().mean(1), agree.double().mean(1), _row_means(cosine.double(), batch.segments))


def _row_means(values_RL: Tensor, segments: Segments | None) -> Tensor:
    if segments is None:
        return values_RL.mean(1)
    real_RL = segments.numbers_RL != PADDING
    return (values_RL * real_RL).sum(1) / real_RL.sum(1)
