"""The vocabulary terms' gradients on a CPU: a chunk of logits at a time in memory, a slab of those in its caches.

Shapes: N positions, C positions of a chunk, V vocabulary, D width.
"""

from dataclasses import astuple

import torch
from torch import Tensor

from stages.distillation.hardware import KEPT_BYTES
from stages.distillation.losses.formulas import IGNORE, Coefficients, Gradients
from stages.distillation.losses.head import Head

CHUNK = 512
"""Positions whose logits exist at a time: 31 MB a model in bf16 at V = 30,522. Every chunk adds to the head's weight
gradient, (V, D) in fp32: with fewer positions in a chunk that traffic costs more than its product."""

CHUNK_BYTES = 1 << 27
"""Of one model's logits that exist at a time, at most: the 250,002 words of XLM-R leave a chunk 268 positions in bf16,
the 50,257 of GPT-2 all of `CHUNK`."""

WORDS = 4096
"""Rows of the head's weight gradient, (V, D), whose product is made, and then added in fp32, at a time."""

SLAB = 1 << 19
"""Logits that go through softmax and gradient at a time, so that they stay in the caches."""


def reads_tiles(weight_VD: Tensor) -> bool:
    """Whether a frozen decoder's tiles would be read for a whole chunk: its logits may not be too large for that."""
    return CHUNK * len(weight_VD) * weight_VD.dtype.itemsize <= KEPT_BYTES


def gradients(
    hidden_ND: Tensor,
    head: Head,
    labels_N: Tensor,
    scaled: Coefficients,
    teacher: tuple[Tensor, Head] | None,
) -> Gradients:
    """Of ce · Σ KL + mlm · Σ CE over N positions, in closed form; `scaled.ce` comes divided by the temperature.

    `hidden_ND` is the input of the student's decoder `head`, `teacher` the same of the teacher (None: the masked-LM
    term alone); `labels_N` is `IGNORE` where the masked-LM term does not count. Logits have `hidden_ND`'s dtype, every
    sum at least fp32.
    """
    dtype = hidden_ND.dtype
    chunk = max(1, min(CHUNK, CHUNK_BYTES // (len(head.bias_V) * dtype.itemsize), len(hidden_ND)))
    student, theirs = head.to(dtype), None if teacher is None else teacher[1].to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    grad_hidden = torch.empty_like(hidden_ND)
    grad_weight, grad_bias = torch.empty_like(head.weight_VD, dtype=wide), torch.zeros_like(head.bias_V, dtype=wide)
    if not len(hidden_ND):
        grad_weight.zero_()
    sums = torch.zeros(2, dtype=wide)
    # Made once and written over by every chunk: fresh memory would have to be zeroed by the kernel first.
    logits_CV = hidden_ND.new_empty(chunk, len(head.bias_V))
    teacher_CV = None if teacher is None else torch.empty_like(logits_CV)
    share_VD = torch.empty_like(head.weight_VD[:WORDS], dtype=dtype)
    for start in range(0, len(hidden_ND), chunk):
        rows = slice(start, start + chunk)
        of_teacher = None
        if teacher is not None and theirs is not None and teacher_CV is not None:
            of_teacher = theirs.logits(teacher[0][rows], scaled.temperature, teacher_CV)
        logits = student.logits(hidden_ND[rows], scaled.temperature, logits_CV)
        grad_CV, found, bias = slab_by_slab(logits, of_teacher, labels_N[rows], *astuple(scaled))
        sums += found
        grad_bias += bias
        torch.mm(grad_CV, student.weight_VD, out=grad_hidden[rows])
        for share, words in zip(grad_weight.split(WORDS), grad_CV.split(WORDS, dim=1), strict=True):
            product = torch.mm(words.t(), hidden_ND[rows], out=share_VD[: len(share)])
            share.copy_(product) if start == 0 else share.add_(product)
    return Gradients(sums, grad_hidden, grad_weight, grad_bias)


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
