"""The triple loss (DistilBERT, section 3), computed from hidden states a chunk of positions at a time.

    loss = a_ce · T² · KL(teacher ‖ student at T) + a_mlm · CE(masked) + a_cos · (1 − cos(last hidden states))

The vocabulary head is most of the memory and a third of the arithmetic of a step, so the first two terms share one
pass: for a chunk of positions both models' logits are made, both losses are summed, and the gradients with respect to
the head's input, weight and bias are taken in closed form while the logits are still in cache. No (positions ×
vocabulary) tensor of a batch ever exists.

Shapes: N positions, C positions of a chunk, V vocabulary, D width.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn

CHUNK = {"cpu": 512, "cuda": 4096}
"""Positions whose logits exist at a time, by kind of device: 31 MB a model in bf16 at V = 30,522. Every chunk adds to
the head's weight gradient, (V, D) in fp32: with fewer positions in a chunk that traffic costs more than its product."""

WORDS = 8192
"""Rows of the head's weight gradient, (V, D), whose product is made, and then added in fp32, at a time."""

SLAB = 1 << 19
"""Logits that a CPU takes through softmax and gradient at a time, so that they stay in its caches."""

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

    def logits(self, hidden_CD: Tensor, temperature: float, out_CV: Tensor) -> Tensor:
        """Logits / temperature, (C, V) in the head's dtype, into the first rows of `out_CV`: rounded once."""
        out = out_CV[: len(hidden_CD)]
        scale = 1 / temperature
        return torch.addmm(self.bias_V, hidden_CD, self.weight_VD.t(), beta=scale, alpha=scale, out=out)


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
        gradient = _compiled() if hidden_ND.is_cuda else _slab_by_slab
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
        weights = torch.tensor([coefficients.ce, coefficients.mlm], device=sums.device)
        return (weights * sums).sum(), sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("the vocabulary losses can be differentiated once: their gradients are given away")
        made, ctx.grads = ctx.grads, None
        scale = grads[0] * ctx.size
        return (*(gradient.mul_(scale) for gradient in made), None, None, None, None)


def _dense(
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
def _compiled() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """`_dense`, fused by torch's compiler where its GPU back end is installed."""
    return torch.compile(_dense) if find_spec("triton") else _dense


def _slab_by_slab(
    logits_CV: Tensor, teacher_CV: Tensor | None, labels_C: Tensor, temperature: float, ce: float, mlm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_dense`, for a CPU: in cache, each exponential once, and the gradient written over `logits_CV`.

    Compiled, `_dense` would do as well, but g++ takes longer for it than a short training can win back.
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
        _slab(
            mine,
            None if teacher_CV is None else theirs.copy_(teacher_CV[cut]),
            spare,
            labels_C[cut],
            Coefficients(temperature, ce, mlm),
            sums,
        )
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
    labels, every = labels_C[counted], len(counted) == len(labels_C)
    mine_CV -= mine_CV.amax(1, keepdim=True)
    sums[1] -= temperature * mine_CV[counted, labels].sum()
    if theirs_CV is None:
        total_p = mine_CV.exp_().sum(1, keepdim=True)
        sums[1] += total_p[counted].log().sum()
        mine_CV.mul_((labels_C != IGNORE).unsqueeze(1) * coefficients.mlm / total_p)
    else:
        theirs_CV -= theirs_CV.amax(1, keepdim=True)
        torch.sub(theirs_CV, mine_CV, out=spare_CV)
        total_q, total_p = (slab.exp_().sum(1, keepdim=True) for slab in (theirs_CV, mine_CV))
        # Σ q (log q − log p) = Σ q (z_q − z_p) − log Σ exp z_q + log Σ exp z_p
        sums[0] += (spare_CV.mul_(theirs_CV).sum(1, keepdim=True) / total_q - total_q.log() + total_p.log()).sum()
        power = spare_CV[: len(counted)]
        _to_the(temperature, mine_CV if every else torch.index_select(mine_CV, 0, counted, out=power), power)
        total = power.sum(1, keepdim=True)
        sums[1] += total.log().sum()
        mine_CV.mul_(coefficients.ce / total_p).addcmul_(theirs_CV, coefficients.ce / total_q, value=-1)
        if every:
            mine_CV.addcmul_(power, coefficients.mlm / total)
        else:
            mine_CV.index_add_(0, counted, power.mul_(coefficients.mlm / total))
    mine_CV[counted, labels] -= coefficients.mlm


def _to_the(exponent: float, base_CV: Tensor, out_CV: Tensor) -> None:
    if exponent == 2:
        torch.mul(base_CV, base_CV, out=out_CV)
    elif exponent == 1:
        out_CV.copy_(base_CV)
    else:
        torch.pow(base_CV, exponent, out=out_CV)


def cosine_distance(student_ND: Tensor, teacher_ND: Tensor) -> Tensor:
    """Σ (1 − cos) over positions between last hidden states, in fp32 at least (the original: CosineEmbeddingLoss)."""
    wide = torch.promote_types(student_ND.dtype, torch.float32)
    return (1 - nn.functional.cosine_similarity(student_ND.to(wide), teacher_ND.to(wide), dim=-1)).sum()
