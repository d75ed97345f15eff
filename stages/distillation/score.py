"""How good a language model is on held-out blocks, and how close to another: sums to be averaged by the caller.

Shapes: R rows, L length, D width, A positions at which a token is asked for, C of a chunk of them, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.distillation.data.batch import Batch
from stages.distillation.data.rows import PADDING
from stages.distillation.data.segments import Segments
from stages.distillation.families.family import LanguageModel
from stages.distillation.models.parts import decoder, encode, head_input

CHUNK_BYTES = 1 << 28
"""Of the log-probabilities that exist at a time, at most: a causal model is asked at every position."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one batch, its log-probabilities not yet computed."""

    model: LanguageModel
    hidden_RLD: Tensor

    def log_p(self, index_C: Tensor) -> Tensor:
        """Log-probabilities at these positions of the flattened (R · L) batch, (C, V) in fp32."""
        chosen = self.hidden_RLD.flatten(0, 1)[index_C]
        return torch.log_softmax(decoder(self.model)(head_input(self.model, chosen)).float(), -1)


@dataclass(frozen=True)
class Scores:
    """Per-row means over the positions at which a token is asked for, each (R,) in fp64."""

    mlm_loss: Tensor
    """Negative log-likelihood of those tokens, in nats: the masked ones, or a causal model's next ones."""
    top1: Tensor
    """Share of those tokens that the model ranks first."""


@dataclass(frozen=True)
class Closeness:
    """Student against teacher: per-row means, each (R,) in fp64."""

    kl: Tensor
    """KL(teacher ‖ student) at T = 1 where a token is asked for, in nats."""
    agreement: Tensor
    """Share of these positions where both rank the same token first."""
    cosine: Tensor
    """Cosine between last hidden states over all positions but padding."""


@torch.inference_mode()
def predict(model: LanguageModel, batch: Batch) -> Prediction:
    """The model's prediction for a batch, in the precision of its weights."""
    return Prediction(model, encode(model, batch.input_ids_RL, batch.segments))


@torch.inference_mode()
def score(prediction: Prediction, batch: Batch) -> Scores:
    """Loss and top-1 of a prediction on the tokens that were asked for."""
    found: list[tuple[Tensor, Tensor]] = []
    for index, labels in _chunks(prediction, batch):
        log_p = prediction.log_p(index)
        found.append((-log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1), log_p.argmax(-1) == labels))
    losses, hits = (_row_means(torch.cat(values), batch) for values in zip(*found, strict=True))
    return Scores(losses, hits)


@torch.inference_mode()
def compare(student: Prediction, teacher: Prediction, batch: Batch) -> Closeness:
    """How close the student's prediction is to the teacher's on the same batch."""
    found: list[tuple[Tensor, Tensor]] = []
    for index, _ in _chunks(student, batch):
        log_p, log_q = student.log_p(index), teacher.log_p(index)
        found.append(((log_q.exp() * (log_q - log_p)).sum(-1), log_p.argmax(-1) == log_q.argmax(-1)))
    kl, agreement = (_row_means(torch.cat(values), batch) for values in zip(*found, strict=True))
    cosine = nn.functional.cosine_similarity(student.hidden_RLD.float(), teacher.hidden_RLD.float(), dim=-1)
    return Closeness(kl, agreement, _means_of_text(cosine.double(), batch.segments))


def _chunks(prediction: Prediction, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """(positions, labels), as many at a time as `CHUNK_BYTES` hold."""
    size = max(1, CHUNK_BYTES // (4 * len(decoder(prediction.model).weight)))
    yield from zip(batch.asked_index().split(size), batch.labels().split(size), strict=True)


def _row_means(values_A: Tensor, batch: Batch) -> Tensor:
    """Over each row's positions, (R,); 0 in a row that has none."""
    rows, length = batch.input_ids_RL.shape
    if batch.asked_A is None:
        return values_A.double().unflatten(0, batch.labels_RM.shape).mean(1)
    row_A = batch.asked_index() // length
    sums = torch.zeros(rows, dtype=torch.float64, device=values_A.device).index_add_(0, row_A, values_A.double())
    return sums / torch.bincount(row_A, minlength=rows).clamp(min=1)


def _means_of_text(values_RL: Tensor, segments: Segments | None) -> Tensor:
    if segments is None:
        return values_RL.mean(1)
    real_RL = segments.numbers_RL != PADDING
    return (values_RL * real_RL).sum(1) / real_RL.sum(1)
