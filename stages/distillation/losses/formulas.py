"""The two vocabulary terms of one chunk of positions, and their gradient with respect to the student's logits.

    d KL / d z = (p_student − p_teacher) / T        d CE / d z = softmax(z) − one-hot

Logits z come divided by the temperature T, as the KL term wants them. Shapes: C positions of a chunk, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = -100
"""The label of a position that the masked-LM loss does not count, as in torch."""


@dataclass(frozen=True)
class Coefficients:
    """What one position's terms are multiplied by: alpha / global count · workers, T² already in `ce`."""

    temperature: float
    ce: float
    mlm: float


@dataclass(frozen=True)
class Gradients:
    """What going through all positions gives: [Σ KL, Σ CE], and the gradients of the head's input, weight and bias."""

    sums: Tensor
    hidden_ND: Tensor
    weight_VD: Tensor
    bias_V: Tensor


def dense(
    logits_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, temperature: float, ce: float, mlm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(d loss / d logits in the logits' dtype, [Σ KL, Σ CE], the bias's gradient) of one chunk, written plainly.

    Logits come divided by the temperature; `ce` is divided by it too. What both devices' own code is compared with,
    and what a GPU without a compiler takes; nothing in it waits for the device.
    """
    dtype = logits_CV.dtype
    wide = torch.promote_types(dtype, torch.float32)
    logits_CV = logits_CV.to(wide)
    counted_C1 = (labels_C != IGNORE).unsqueeze(1)
    log_p = torch.log_softmax(logits_CV * temperature, dim=-1)
    is_label = torch.arange(log_p.shape[1], device=log_p.device) == labels_C.unsqueeze(1)
    grad = torch.where(counted_C1, (log_p.exp() - is_label.to(wide)) * mlm, 0.0)
    kl, cross_entropy = log_p.new_zeros(()), -torch.where(is_label, log_p, 0.0).sum()
    if teacher_CV is not None:
        log_p = torch.log_softmax(logits_CV, dim=-1)
        log_q = torch.log_softmax(teacher_CV.to(wide), dim=-1)
        kl = (log_q.exp() * (log_q - log_p)).sum()
        grad = grad + (log_p.exp() - log_q.exp()) * ce
    return grad.to(dtype), torch.stack([kl, cross_entropy]), grad.sum(0)
