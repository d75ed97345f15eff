"""The triple loss (DistilBERT, section 3), computed from hidden states a chunk of positions at a time.

    loss = a_ce · T² · KL(teacher ‖ student at T) + a_mlm · CE(masked) + a_cos · (1 − cos(last hidden states))

The vocabulary head is most of the memory and a third of the arithmetic of a step, so the first two terms share one
pass: for a chunk of positions both models' logits are made, both losses are summed, and the gradients with respect to
the head's input, weight and bias are taken in closed form while the logits are still in cache. No (positions ×
vocabulary) tensor of a batch ever exists.

Shapes: N positions, C positions of a chunk, V vocabulary, D width.
"""

from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn

from stages.distillation.chunk import Coefficients, compiled, slab_by_slab
from stages.distillation.head import Head

CHUNK = {"cpu": 512, "cuda": 4096}
"""Positions whose logits exist at a time, by kind of device: 31 MB a model in bf16 at V = 30,522. Every chunk adds to
the head's weight gradient, (V, D) in fp32: with fewer positions in a chunk that traffic costs more than its product."""

WORDS = 4096
"""Rows of the head's weight gradient, (V, D), whose product is made, and then added in fp32, at a time."""


def vocabulary_losses(
    hidden_ND: Tensor,
    head: Head,
    labels_N: Tensor,
    coefficients: Coefficients,
    teacher: tuple[Tensor, Head] | None = None,
) -> tuple[Tensor, Tensor]:
    """(ce · Σ KL + mlm · Σ CE, the two sums), over N positions, from the input of the student's decoder.

    `hidden_ND` and `head` are the student's, `teacher` the same of the teacher (None: the masked-LM term alone);
    `labels_N` is `IGNORE` where the masked-LM term does not count. Logits have `hidden_ND`'s dtype, every sum at least
    fp32.
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
        dtype, chunk = hidden_ND.dtype, max(1, min(CHUNK[hidden_ND.device.type], len(hidden_ND)))
        student, teacher = Head(weight_VD, bias_V).to(dtype), teacher_head and teacher_head.to(dtype)
        temperature = coefficients.temperature if teacher else 1.0
        grad_hidden = torch.empty_like(hidden_ND)
        wide = torch.promote_types(dtype, torch.float32)
        grad_weight, grad_bias = torch.empty_like(weight_VD, dtype=wide), torch.zeros_like(bias_V, dtype=wide)
        sums = torch.zeros(2, dtype=wide, device=hidden_ND.device)
        # Made once and written over by every chunk: fresh memory would have to be zeroed by the kernel first.
        logits_CV = hidden_ND.new_empty(chunk, len(bias_V))
        teacher_CV = torch.empty_like(logits_CV) if teacher else None
        share_VD = torch.empty_like(weight_VD[:WORDS], dtype=dtype)
        # Gradients of one position are around coefficient / V, too small for fp16: the products are made without the
        # coefficient's size, which multiplies their results.
        size = max(coefficients.ce / coefficients.temperature, coefficients.mlm) or 1.0  # 0: the cosine term alone
        scaled = Coefficients(temperature, coefficients.ce / temperature / size, coefficients.mlm / size)
        gradient = compiled() if hidden_ND.is_cuda else slab_by_slab
        if not len(hidden_ND):
            grad_weight.zero_()
        with torch.autocast(hidden_ND.device.type, enabled=False):
            for start in range(0, len(hidden_ND), chunk):
                rows = slice(start, start + chunk)
                theirs = None
                if teacher is not None and teacher_ND is not None and teacher_CV is not None:
                    theirs = teacher.logits(teacher_ND[rows], temperature, teacher_CV)
                logits = student.logits(hidden_ND[rows], temperature, logits_CV)
                grad_CV, found, bias = gradient(logits, theirs, labels_N[rows], *astuple(scaled))
                sums += found
                grad_bias += bias
                torch.mm(grad_CV, student.weight_VD, out=grad_hidden[rows])
                for share, words in zip(grad_weight.split(WORDS), grad_CV.split(WORDS, dim=1), strict=True):
                    product = torch.mm(words.t(), hidden_ND[rows], out=share_VD[: len(share)])
                    share.copy_(product) if start == 0 else share.add_(product)
        ctx.grads, ctx.size = (grad_hidden, grad_weight, grad_bias), size
        ctx.mark_non_differentiable(sums)
        return coefficients.ce * sums[0] + coefficients.mlm * sums[1], sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("the vocabulary losses can be differentiated once: their gradients are given away")
        made, ctx.grads = ctx.grads, None
        scale = grads[0] * ctx.size
        return (*(gradient.mul_(scale) for gradient in made), None, None, None, None)


def cosine_distance(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Σ (1 − cos) over positions between last hidden states, in fp32 at least (the original: CosineEmbeddingLoss)."""
    wide = torch.promote_types(student_ND.dtype, torch.float32)
    return (1 - nn.functional.cosine_similarity(student_ND.to(wide), teacher_ND.to(wide), dim=-1)).sum()
