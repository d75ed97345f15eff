"""The triple loss (DistilBERT, section 3), computed from hidden states a chunk of positions at a time.

    loss = a_ce · T² · KL(teacher ‖ student at T) + a_mlm · CE(masked) + a_cos · (1 − cos(last hidden states))

The vocabulary head is most of the memory and a third of the arithmetic of a step, so the first two terms share one
pass: for a chunk of positions both models' logits are made, both losses are summed, and the gradients with respect to
the head's input, weight and bias are taken in closed form while the logits are still in cache. No (positions ×
vocabulary) tensor of a batch ever exists.

Shapes: N positions, C positions of a chunk, V vocabulary, D width.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

CHUNK = 256
"""Positions whose logits exist at a time: 8 MiB in fp32 at V = 8,192, 31 MiB at 30,522."""

IGNORE = -100
"""The label of a position that the masked-LM loss does not count, as in torch."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The three terms' weights and the temperature; with no teacher only `alpha_mlm` counts."""

    temperature: float = 2.0
    alpha_ce: float = 5.0
    alpha_mlm: float = 2.0
    alpha_cos: float = 1.0
    ce_positions: Literal["all", "masked"] = "all"


@dataclass(frozen=True)
class Head:
    """A decoder as the losses see it: logits = hidden · weightᵀ + bias."""

    weight_VD: Tensor
    bias_V: Tensor

    @classmethod
    def of(cls, decoder: nn.Linear) -> "Head":
        """The decoder's own tensors, so that gradients reach them."""
        return cls(decoder.weight, decoder.bias)

    def to(self, dtype: torch.dtype) -> "Head":
        """Detached, in `dtype`: cast once for all chunks."""
        return Head(self.weight_VD.detach().to(dtype), self.bias_V.detach().to(dtype))

    def logits(self, hidden_CD: Tensor) -> Tensor:
        """(C, V) in the head's dtype."""
        return torch.addmm(self.bias_V, hidden_CD, self.weight_VD.t())


@dataclass(frozen=True)
class Coefficients:
    """What one position's terms are multiplied by: alpha / global count · workers, T² already in `ce`."""

    temperature: float
    ce: float
    mlm: float


def vocabulary_losses(
    hidden_ND: Tensor,
    head: Head,
    labels_N: Tensor,
    coefficients: Coefficients,
    teacher: tuple[Tensor, Head] | None = None,
) -> tuple[Tensor, Tensor]:
    """(ce · Σ KL + mlm · Σ CE, the two sums), over N positions, from the input of the student's decoder.

    `hidden_ND` and `head` are the student's, `teacher` the same of the teacher (None: the masked-LM term alone);
    `labels_N` is `IGNORE` where the masked-LM term does not count. Logits have `hidden_ND`'s dtype, every sum is fp32.
    Differentiable once, with respect to `hidden_ND`, the head's weight and its bias. The sums, (2,) in nats and not
    multiplied by anything, are for reporting: [Σ KL at T without T², Σ CE].
    """
    teacher_ND, teacher_head = teacher or (None, None)
    return _VocabularyLosses.apply(
        hidden_ND, head.weight_VD, head.bias_V, labels_N, coefficients, teacher_ND, teacher_head
    )


class _VocabularyLosses(torch.autograd.Function):
    """Forward makes the gradients too: d KL / d z = (p_student − p_teacher) / T, d CE / d z = softmax(z) − one-hot."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor,
        labels_N: Tensor,
        coefficients: Coefficients,
        teacher_ND: Tensor | None,
        teacher_head: Head | None,
    ) -> tuple[Tensor, Tensor]:
        dtype = hidden_ND.dtype
        student = Head(weight_VD, bias_V).to(dtype)
        if teacher_head is not None:
            teacher_head = teacher_head.to(dtype)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32)
        grad_bias = torch.zeros_like(bias_V, dtype=torch.float32)
        sums = torch.zeros(2, dtype=torch.float32, device=hidden_ND.device)
        # Gradients of one position are around coefficient / V, too small for fp16: the products are made without the
        # coefficient's size, which multiplies their results.
        size = max(coefficients.ce / coefficients.temperature, coefficients.mlm) or 1.0  # 0: the cosine term alone
        with torch.autocast(hidden_ND.device.type, enabled=False):
            for start in range(0, len(hidden_ND), CHUNK):
                rows = slice(start, start + CHUNK)
                teacher_logits = (
                    None if teacher_head is None or teacher_ND is None else teacher_head.logits(teacher_ND[rows])
                )
                logits = student.logits(hidden_ND[rows])
                grad_CV = _chunk(logits, teacher_logits, labels_N[rows], coefficients, size, sums)
                grad_bias += grad_CV.sum(0)
                grad_CV = grad_CV.to(dtype)
                grad_hidden[rows] = grad_CV @ student.weight_VD
                grad_weight += grad_CV.t() @ hidden_ND[rows]
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.size = size
        ctx.mark_non_differentiable(sums)
        weights = torch.tensor([coefficients.ce, coefficients.mlm], device=sums.device)
        return (weights * sums).sum(), sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        scale = grads[0] * ctx.size
        return (
            (grad_hidden * scale).to(grad_hidden.dtype),
            grad_weight * scale,
            grad_bias * scale,
            None,
            None,
            None,
            None,
        )


def _chunk(
    logits_CV: Tensor,
    teacher_CV: Tensor | None,
    labels_C: Tensor,
    coefficients: Coefficients,
    size: float,
    sums: Tensor,
) -> Tensor:
    """Add the chunk's [Σ KL, Σ CE] to `sums`; return d loss / d logits, (C, V) in fp32, divided by `size`."""
    logits_CV = logits_CV.float()
    counted = (labels_C != IGNORE).nonzero().squeeze(1)
    log_p = torch.log_softmax(logits_CV[counted], dim=-1)
    picked = labels_C[counted].unsqueeze(1)
    sums[1] -= log_p.gather(1, picked).sum()
    grad_mlm = log_p.exp_().mul_(coefficients.mlm / size)
    grad_mlm.scatter_add_(1, picked, torch.full_like(picked, -coefficients.mlm / size, dtype=torch.float32))
    if teacher_CV is None:
        return torch.zeros_like(logits_CV).index_copy_(0, counted, grad_mlm)
    temperature = coefficients.temperature
    log_q = torch.log_softmax(teacher_CV.float().div_(temperature), dim=-1)
    log_p = torch.log_softmax(logits_CV.div_(temperature), dim=-1)
    q = log_q.exp()
    sums[0] += torch.sum(q * log_q.sub_(log_p))
    grad = log_p.exp_().sub_(q).mul_(coefficients.ce / temperature / size)
    return grad.index_add_(0, counted, grad_mlm)


def cosine_distance(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Σ (1 − cos) over positions between last hidden states, in fp32 (the original's CosineEmbeddingLoss, target 1)."""
    return (1 - nn.functional.cosine_similarity(student_ND.float(), teacher_ND.float(), dim=-1)).sum()
