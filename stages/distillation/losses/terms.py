"""What a loss is made of: a list of terms, each a function of what both models gave for a micro-batch.

    loss = Σ over parts: weight · scale · sum / count of the global batch · workers

The triple loss (DistilBERT, section 3) is two terms of three parts: the two over the vocabulary share one pass. A term
with a weight of 0 is no part of the list: it is neither computed nor reported, and where no term of a list asks for the
teacher, none is run. Masked-LM alone is always there: a head without gradients is an error to DDP. Another loss (of
relations, say) is another function here.

Shapes: N positions of the micro-batch that are no padding, A of them at which a token is asked for, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from stages.distillation.families.family import LanguageModel
from stages.distillation.losses.formulas import IGNORE, Coefficients
from stages.distillation.losses.head import Head
from stages.distillation.losses.triple import cosine_distance, vocabulary_losses
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.parts import decoder, head_input

Count = Literal["positions", "masked"]


@dataclass(frozen=True)
class Outputs:
    """What both models gave for a micro-batch: last hidden states where the text is (padding left out), at which of
    them a token is asked for, and which it is: what stood at a masked position, or, for causal models, the next."""

    model: LanguageModel
    hidden_ND: Tensor
    teacher: LanguageModel | None
    teacher_ND: Tensor | None
    """None where the list of terms asks for no teacher."""
    asked_A: Tensor
    labels_A: Tensor


@dataclass(frozen=True, kw_only=True)
class Part:
    """A number of the loss, as it is reported: scale · sum / count, under `loss_<name>`."""

    name: str
    weight: float
    count: Count
    """Which of the global batch's nominal counts its sum is divided by."""
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Term:
    """One or more parts that are computed together."""

    parts: tuple[Part, ...]
    compute: Callable[[Outputs, Sequence[float]], tuple[Tensor, Tensor]]
    """(outputs, a coefficient for each part) to (Σ coefficient · sum, the sums): the first differentiable once, the
    second (parts,) detached, in fp32 at least. What is large is gone through by chunks."""
    taught: bool = True
    """Whether it asks for the teacher."""


def terms_of(weights: LossWeights) -> tuple[Term, ...]:
    """The triple loss, as far as its weights are above 0."""
    everywhere = weights.ce_positions == "all"
    ce = Part(
        name="ce",
        weight=weights.alpha_ce,
        count="positions" if everywhere else "masked",
        scale=weights.temperature**2,  # keeps the gradient's size whatever T is (Hinton et al. 2015, section 2.1)
    )
    mlm = Part(name="mlm", weight=weights.alpha_mlm, count="masked")
    cos = Part(name="cos", weight=weights.alpha_cos, count="positions")
    found: list[Term] = []
    if weights.alpha_ce > 0:
        compute = partial(_taught_vocabulary, weights.temperature, everywhere)
        found.append(Term(parts=(ce, mlm), compute=compute))
    else:
        found.append(Term(parts=(mlm,), compute=_vocabulary, taught=False))
    if weights.alpha_cos > 0:
        found.append(Term(parts=(cos,), compute=_cosine))
    return tuple(found)


def _taught_vocabulary(
    temperature: float, everywhere: bool, outputs: Outputs, coefficients: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """KL at every position or at masked ones, and cross-entropy at masked ones: one pass over both heads."""
    hidden, theirs, index, labels = outputs.hidden_ND, outputs.teacher_ND, outputs.asked_A, outputs.labels_A
    assert outputs.teacher is not None, "a term that is taught gets a teacher"
    assert theirs is not None, "and its hidden states"
    if everywhere:
        labels = torch.full((len(hidden),), IGNORE, device=hidden.device)
        labels[index] = outputs.labels_A
    else:
        hidden, theirs = hidden[index], theirs[index]
    with torch.no_grad():
        teacher = (head_input(outputs.teacher, theirs).to(logits_dtype(theirs)), Head.of(decoder(outputs.teacher)))
    return _through_head(outputs.model, hidden, labels, Coefficients(temperature, *coefficients), teacher)


def _vocabulary(outputs: Outputs, coefficients: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Cross-entropy at masked positions, without a teacher."""
    hidden = outputs.hidden_ND[outputs.asked_A]
    loss, sums = _through_head(outputs.model, hidden, outputs.labels_A, Coefficients(1.0, 0.0, *coefficients), None)
    return loss, sums[1:]


def _through_head(
    model: LanguageModel,
    hidden: Tensor,
    labels: Tensor,
    coefficients: Coefficients,
    teacher: tuple[Tensor, Head] | None,
) -> tuple[Tensor, Tensor]:
    into = head_input(model, hidden).to(logits_dtype(hidden))
    return vocabulary_losses(into, Head.of(decoder(model)), labels, coefficients, teacher)


def _cosine(outputs: Outputs, coefficients: Sequence[float]) -> tuple[Tensor, Tensor]:
    """1 − cosine between the last hidden states, at every position."""
    assert outputs.teacher_ND is not None, "a term that is taught gets the teacher's hidden states"
    distance = cosine_distance(outputs.hidden_ND, outputs.teacher_ND)
    return coefficients[0] * distance, distance.detach().unsqueeze(0)


def logits_dtype(hidden: Tensor) -> torch.dtype:
    """The dtype of the vocabulary product: autocast's where it is on (its LayerNorm gives fp32), else `hidden`'s."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
