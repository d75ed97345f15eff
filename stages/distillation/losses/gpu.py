"""The vocabulary terms' gradients on a GPU: large chunks, fast products, one kernel for what lies between them.

A GPU's fast products want rows whose bytes are a multiple of 16, which those of 30,522 words in bf16 are not: the
decoder's copy and the logits have room for some words more (measured on an H100: 1.15 × the step's speed). The head's
weight gradient is added up in fp32 by the product itself.

Shapes: N positions, C positions of a chunk, V vocabulary, P = V rounded up to a multiple of 64, D width.
"""

import math
from functools import cache
from warnings import warn

import torch
from torch import Tensor

from stages.distillation.losses.formulas import IGNORE, Coefficients, Gradients, dense
from stages.distillation.losses.head import Head

CHUNK_BYTES = 1 << 28
"""Of the logits of one model that exist at a time; from 64 MiB to 1 GiB the speed is all but the same."""
ROWS = 256
"""Chunks are a multiple of so many positions, as products are fastest."""
ALIGNED = 64
"""Words to which a vocabulary is rounded up in memory."""
PLAIN_ROWS = 512
"""Rows at a time where there is no compiler for the kernel."""


def gradients(
    hidden_ND: Tensor,
    head: Head,
    labels_N: Tensor,
    scaled: Coefficients,
    teacher: tuple[Tensor, Head] | None,
) -> Gradients:
    """As `cpu.gradients`."""
    (n, _), vocabulary, dtype = hidden_ND.shape, len(head.bias_V), hidden_ND.dtype
    wide = torch.promote_types(dtype, torch.float32)
    student, theirs = _padded(head, dtype), None if teacher is None else _padded(teacher[1], dtype)
    chunk = positions_at_a_time(n, len(student.bias_V) * dtype.itemsize)
    logits_CP = hidden_ND.new_empty(chunk, len(student.bias_V))
    teacher_CP = None if teacher is None else torch.empty_like(logits_CP)
    # The gradient at a label is −mlm wherever the student is unsure, at every position the same: were that no power of
    # two, rounding it to bf16 would make the whole term a little stronger or weaker. The products make up for it.
    factor = scaled.mlm / 2.0 ** math.floor(math.log2(scaled.mlm)) if scaled.mlm > 0 else 1.0
    sums = torch.zeros(2, dtype=torch.float64, device=hidden_ND.device)
    grad_hidden = torch.empty_like(hidden_ND)
    grad_weight = torch.zeros_like(student.weight_VD, dtype=wide)
    grad_bias = torch.zeros_like(student.bias_V, dtype=wide)
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        mine_CP = _logits(student, hidden_ND[rows], logits_CP)
        theirs_CP = None
        if teacher is not None and theirs is not None and teacher_CP is not None:
            theirs_CP = _logits(theirs, teacher[0][rows], teacher_CP)
        sums += gradient_(
            mine_CP,
            theirs_CP,
            labels_N[rows],
            vocabulary=vocabulary,
            temperature=scaled.temperature,
            ce=scaled.ce / factor,
            mlm=scaled.mlm / factor,
        )
        share = grad_hidden[rows]
        torch.addmm(share, mine_CP, student.weight_VD, beta=0, alpha=factor, out=share)
        if dtype == wide:
            grad_weight.addmm_(mine_CP.t(), hidden_ND[rows], alpha=factor)
        else:
            torch.addmm(grad_weight, mine_CP.t(), hidden_ND[rows], out_dtype=wide, alpha=factor, out=grad_weight)
        grad_bias.add_(mine_CP.sum(0, dtype=wide), alpha=factor)
    return Gradients(sums.to(wide), grad_hidden, grad_weight[:vocabulary], grad_bias[:vocabulary])


def positions_at_a_time(positions: int, row_bytes: int) -> int:
    """C: as many rows of logits as `CHUNK_BYTES` hold, so that 250,002 words take no more memory than 30,522."""
    return max(1, min(positions, max(ROWS, CHUNK_BYTES // row_bytes // ROWS * ROWS)))


def _padded(head: Head, dtype: torch.dtype) -> Head:
    """A copy in `dtype` with P rows, those beyond V all 0: so are their logits, which nobody reads or writes over."""
    vocabulary, width = head.weight_VD.shape
    weight = head.weight_VD.new_zeros(-(-vocabulary // ALIGNED) * ALIGNED, width, dtype=dtype)
    bias = head.bias_V.new_zeros(len(weight), dtype=dtype)
    weight[:vocabulary] = head.weight_VD.detach()
    bias[:vocabulary] = head.bias_V.detach()
    return Head(weight, bias)


def _logits(head: Head, hidden_CD: Tensor, room_CP: Tensor) -> Tensor:
    """The chunk's logits, bias added by the product."""
    return torch.addmm(head.bias_V, hidden_CD, head.weight_VD.t(), out=room_CP[: len(hidden_CD)])


def gradient_(
    mine_CP: Tensor,
    theirs_CP: Tensor | None,
    labels_C: Tensor,
    *,
    vocabulary: int,
    temperature: float,
    ce: float,
    mlm: float,
) -> Tensor:
    """Writes d loss / d logits over the student's logits; returns [Σ KL, Σ CE] in fp64, (2,).

    As `chunk.dense`, but that logits come as they are, not divided by the temperature; `ce` is divided by it. Beyond
    `vocabulary` a row holds 0 before and after.
    """
    if mine_CP.dtype != torch.float64 and compiles(mine_CP.device):
        from stages.distillation.losses.gpu_kernel import launch  # here, because Triton need not be there

        terms = {"temperature": temperature, "ce": ce, "mlm": mlm}
        rows_C2 = launch(mine_CP, theirs_CP, labels_C, vocabulary=vocabulary, ignore=IGNORE, **terms)
        return rows_C2.sum(0, dtype=torch.float64)
    sums = torch.zeros(2, dtype=torch.float64, device=mine_CP.device)
    wide = torch.promote_types(mine_CP.dtype, torch.float32)
    for start in range(0, len(mine_CP), PLAIN_ROWS):
        cut = (slice(start, start + PLAIN_ROWS), slice(0, vocabulary))
        mine = mine_CP[cut].to(wide) / temperature
        theirs = None if theirs_CP is None else theirs_CP[cut].to(wide) / temperature
        grad, found, _ = dense(mine, theirs, labels_C[cut[0]], temperature, ce, mlm)
        mine_CP[cut] = grad.to(mine_CP.dtype)
        sums += found
    return sums


def compiles(device: torch.device) -> bool:
    """Whether Triton is there and can compile for this device, which takes a C compiler too; if not, that is said."""
    return why_not_compiled(device) is None


@cache
def why_not_compiled(device: torch.device) -> str | None:
    """What `compiles` found in the way, a sentence that is warned of once a process; None where nothing is."""
    try:
        from stages.distillation.losses.gpu_kernel import launch

        row, labels = torch.zeros(1, 64, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        launch(row, None, labels, vocabulary=64, temperature=1.0, ce=0.0, mlm=0.0, ignore=IGNORE)
    except Exception as error:  # whatever the compiler, the linker or the driver says
        reason = " ".join(str(error).split())[:200]
        why = (
            f"Triton cannot compile here ({type(error).__name__}: {reason}): the losses take ordinary operations, at "
            "about two thirds of a step's speed. Often a C compiler (gcc) is missing."
        )
        warn(why, stacklevel=2)
        return why
    return None
