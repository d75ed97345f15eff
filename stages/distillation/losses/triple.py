"""The triple loss (DistilBERT, section 3), computed from hidden states a chunk of positions at a time.

    loss = a_ce · T² · KL(teacher ‖ student at T) + a_mlm · CE(masked) + a_cos · (1 − cos(last hidden states))

The vocabulary head is most of the memory and a third of the arithmetic of a step, so the first two terms share one
pass: for a chunk of positions both models' logits are made, both losses are summed, and the gradients with respect to
the head's input, weight and bias are taken in closed form while the logits are there (`cpu.py`,
`gpu.py`). No (positions × vocabulary) tensor of a batch ever exists.

Shapes: N positions, V vocabulary, D width.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from stages.distillation.losses import cpu as losses_cpu
from stages.distillation.losses import gpu as losses_gpu
from stages.distillation.losses.formulas import Coefficients
from stages.distillation.losses.head import Head


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
        temperature = coefficients.temperature if teacher_head else 1.0
        # Gradients of one position are around coefficient / V, too small for fp16: the products are made without the
        # coefficient's size, which multiplies their results. A power of two, so that multiplying rounds nothing.
        largest = max(coefficients.ce / temperature, coefficients.mlm)
        size = 2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0  # 0: the cosine term alone
        scaled = Coefficients(temperature, coefficients.ce / temperature / size, coefficients.mlm / size)
        teacher = None if teacher_ND is None or teacher_head is None else (teacher_ND, teacher_head)
        go_through = losses_gpu.gradients if hidden_ND.is_cuda else losses_cpu.gradients
        with torch.autocast(hidden_ND.device.type, enabled=False):
            found = go_through(hidden_ND, Head(weight_VD, bias_V), labels_N, scaled, teacher)
        ctx.grads, ctx.size, sums = (found.hidden_ND, found.weight_VD, found.bias_V), size, found.sums
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
