"""A chunk's two vocabulary terms and their gradient in one Triton kernel: a row a program, written over the logits.

torch's compiler makes some five kernels of the same formulas, with two (positions × vocabulary) buffers in fp32
between them, and takes seconds for each new temperature. Here a row is read twice, the second time from the GPU's
cache, and nothing but its gradient and two sums are written. Each row adds up by itself in a fixed order: the same bits
every time.
Imported only where a GPU is (`gpu.py`): Triton need not be there.

Shapes: C positions of a chunk, V vocabulary, P the width of a row in memory, at least V.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK, WARPS = 4096, 8
"""Logits of a row that a program holds at a time, and the warps that share them: 16 a thread."""


def launch(
    mine_CP: Tensor,
    theirs_CP: Tensor | None,
    labels_C: Tensor,
    *,
    vocabulary: int,
    temperature: float,
    ce: float,
    mlm: float,
    ignore: int,
) -> Tensor:
    """As `gpu.gradient_`; returns each row's own sums, (C, 2) in fp32."""
    rows_C2 = mine_CP.new_empty(len(mine_CP), 2, dtype=torch.float32)
    teacher = mine_CP if theirs_CP is None else theirs_CP
    _kernel[(len(mine_CP),)](
        mine_CP,
        teacher,
        labels_C,
        rows_C2,
        mine_CP.shape[1],
        vocabulary,
        1 / temperature,
        ce,
        mlm,
        IGNORE=ignore,
        TAUGHT=theirs_CP is not None,
        BLOCK=BLOCK,
        num_warps=WARPS,
    )
    return rows_C2


@triton.jit
def _block(row_ptr, words, width, vocabulary):  # type: ignore[no-untyped-def]
    """These words' logits in fp32, −inf beyond the vocabulary; read by the row's width in memory, since only where the
    bound is a multiple of 16 are 16 bytes read at once."""
    low = float("-inf")
    logits = tl.load(row_ptr + words, mask=words < width, other=low).to(tl.float32)
    return tl.where(words < vocabulary, logits, low)


@triton.jit
def _added(top, total, block, inverse):  # type: ignore[no-untyped-def]
    """The largest logit and Σ exp((z − largest) · inverse) of a row, with one more block of it."""
    higher = tl.maximum(top, tl.max(block, 0))
    return higher, total * tl.exp((top - higher) * inverse) + tl.sum(tl.exp((block - higher) * inverse), 0)


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    mine_ptr,
    theirs_ptr,
    labels_ptr,
    rows_ptr,
    width,
    vocabulary,
    inverse,
    ce,
    mlm,
    IGNORE: tl.constexpr,
    TAUGHT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """First the maxima and sums of exponentials of a row, block by block; then gradient and losses from them."""
    row = tl.program_id(0).to(tl.int64)
    mine_ptr += row * width
    theirs_ptr += row * width
    label = tl.load(labels_ptr + row)
    counted = label != IGNORE
    lanes = tl.arange(0, BLOCK)
    zero = tl.full([], 0.0, tl.float32)
    lowest = zero + float("-inf")
    top, total, total_1 = lowest, zero, zero  # of the student: its largest logit, Σ exp at T and at T = 1
    top_q, total_q = lowest, zero  # of the teacher
    for start in range(0, width, BLOCK):
        z = _block(mine_ptr, start + lanes, width, vocabulary)
        if counted:
            _, total_1 = _added(top, total_1, z, 1.0)
        if TAUGHT:
            y = _block(theirs_ptr, start + lanes, width, vocabulary)
            top_q, total_q = _added(top_q, total_q, y, inverse)
        top, total = _added(top, total, z, inverse)
    cross_entropy = zero
    if counted:
        cross_entropy = tl.log(total_1) + top - tl.load(mine_ptr + label).to(tl.float32)
    divergence = zero
    tl.debug_barrier()  # the label's logit is read before any warp writes over it
    for start in range(0, width, BLOCK):
        words = start + lanes
        z = _block(mine_ptr, words, width, vocabulary)
        gradient = tl.zeros([BLOCK], tl.float32)
        if TAUGHT:
            y = _block(theirs_ptr, words, width, vocabulary)
            log_p = (z - top) * inverse - tl.log(total)
            log_q = (y - top_q) * inverse - tl.log(total_q)
            q = tl.exp(log_q)
            divergence += tl.sum(tl.where(words < vocabulary, q * (log_q - log_p), 0.0), 0)
            gradient += (tl.exp(log_p) - q) * ce
        if counted:
            gradient += (tl.exp(z - top) / total_1 - tl.where(words == label, 1.0, 0.0)) * mlm
        gradient = tl.where(words < vocabulary, gradient, 0.0)  # beyond the vocabulary nothing is learned
        tl.store(mine_ptr + words, gradient.to(mine_ptr.dtype.element_ty), mask=words < width)
    tl.store(rows_ptr + 2 * row, divergence)
    tl.store(rows_ptr + 2 * row + 1, cross_entropy)
