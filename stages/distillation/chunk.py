"""The two vocabulary terms of one chunk of positions, and their gradient with respect to the student's logits.

    d KL / d z = (p_student − p_teacher) / T        d CE / d z = softmax(z) − one-hot

Logits z come divided by the temperature T, as the KL term wants them. Shapes: C positions of a chunk, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

IGNORE = -100
"""The label of a position that the masked-LM loss does not count, as in torch."""

SLAB = 1 << 19
"""Logits that a CPU takes through softmax and gradient at a time, so that they stay in its caches."""


@dataclass(frozen=True)
class Coefficients:
    """What one position's terms are multiplied by: alpha / global count · workers, T² already in `ce`."""

    temperature: float
    ce: float
    mlm: float


def dense(
    logits_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, temperature: float, ce: float, mlm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(d loss / d logits in the logits' dtype, [Σ KL, Σ CE], the bias's gradient) of one chunk, written plainly.

    Logits come divided by the temperature; `ce` is divided by it too. A GPU's compiler makes a few passes of it, and
    nothing in it waits for the device.
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


@cache
def compiled() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """`dense`, fused by torch's compiler where its GPU back end is installed."""
    return torch.compile(dense) if find_spec("triton") else dense


def slab_by_slab(
    logits_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, temperature: float, ce: float, mlm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `dense`, for a CPU: in cache, each exponential once, and the gradient written over `logits_CV`.

    Compiled, `dense` would do as well, but g++ takes longer for it than a short training can win back.
    """
    chunk, vocabulary = logits_CV.shape
    rows = max(1, min(chunk, SLAB // vocabulary))
    wide = torch.promote_types(logits_CV.dtype, torch.float32)
    slabs = tuple(logits_CV.new_empty(rows, vocabulary, dtype=wide) for _ in range(3))
    sums, grad_bias = slabs[0].new_zeros(2), slabs[0].new_zeros(vocabulary)
    for start in range(0, chunk, rows):
        cut = slice(start, start + rows)
        mine, theirs, spare = (slab[: len(labels_C[cut])] for slab in slabs)
        mine.copy_(logits_CV[cut])
        teacher = None if teacher_CV is None else theirs.copy_(teacher_CV[cut])
        _slab(mine, teacher, spare, labels_C[cut], Coefficients(temperature, ce, mlm), sums)
        grad_bias += mine.sum(0)
        logits_CV[cut] = mine
    return logits_CV, sums, grad_bias


def _slab(
    mine_CV: Tensor,
    theirs_CV: Tensor | None,
    spare_CV: Tensor,
    labels_C: Tensor,
    coefficients: Coefficients,
    sums: Tensor,
) -> None:
    """`mine_CV`: from logits / T in fp32 to their gradient. The masked-LM term's exponentials are the others' Tth
    power: exp(z) = exp(z / T)^T, a square at T = 2."""
    temperature, counted = coefficients.temperature, (labels_C != IGNORE).nonzero().squeeze(1)
    labels = labels_C[counted]
    at_labels = mine_CV[counted, labels]
    if theirs_CV is None:
        log_total = _softmax(mine_CV)
        sums[1] += (log_total[counted, 0] - at_labels).sum()
        mine_CV.mul_((labels_C != IGNORE).unsqueeze(1) * coefficients.mlm)
    else:
        torch.sub(theirs_CV, mine_CV, out=spare_CV)
        log_total_q, log_total = _softmax(theirs_CV), _softmax(mine_CV)
        # Σ q (log q − log p) = Σ q (z_q − z_p) − log Σ exp z_q + log Σ exp z_p
        sums[0] += (spare_CV.mul_(theirs_CV).sum(1, keepdim=True) - log_total_q + log_total).sum()
        every = len(counted) == len(labels_C)
        power = mine_CV if every else torch.index_select(mine_CV, 0, counted, out=spare_CV[: len(counted)])
        top = power.amax(1, keepdim=True)  # p^T alone may be too small for fp32
        power = torch.div(power, top, out=spare_CV[: len(counted)])
        if temperature != 1:
            power = power.square_() if temperature == 2 else power.pow_(temperature)
        total = power.sum(1, keepdim=True)
        # − log (p^T / Σ p^T) at the label, from its logit: p itself may have become 0
        log_p = at_labels.unsqueeze(1) - log_total[counted]
        sums[1] += (total.log() + temperature * (top.log() - log_p)).sum()
        mine_CV.sub_(theirs_CV).mul_(coefficients.ce)
        mine_CV.index_add_(0, counted, power.mul_(coefficients.mlm / total))
    mine_CV[counted, labels] -= coefficients.mlm


def _softmax(z_CV: Tensor) -> Tensor:
    """Over `z_CV`, in place; returns log Σ exp z, (C, 1): a row's largest z, less the logarithm of its probability."""
    top = z_CV.amax(1, keepdim=True)
    torch.softmax(z_CV, 1, out=z_CV)
    return top - z_CV.amax(1, keepdim=True).log()
