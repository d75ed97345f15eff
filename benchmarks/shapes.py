"""The shapes that the benchmarks measure, and the bare step on tensors in memory. Needs no Ray."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, DistilBertForMaskedLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.distillation.data.batch import Batch, micro_batches
from stages.distillation.data.masking import mask, mask_rule
from stages.distillation.data.rows import Rows
from stages.distillation.hardware import attention_for, dtype_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.compiled import compile_blocks
from stages.distillation.models.frozen import freeze
from stages.distillation.models.layers import choose_layers
from stages.distillation.models.student import take_blocks
from stages.distillation.step import Arithmetic, Counts, DistillationModule, accumulate, adamw, update
from stages.tokens.packing.best_fit import BestFit
from stages.tokens.packing.words import Tokens


@dataclass(frozen=True)
class Shape:
    """A teacher, and a global batch of R rows of L tokens; the student has every second block."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    rows: int
    length: int
    ce_positions: Literal["all", "masked"]
    mask_rate: float = 0.15

    @property
    def masked(self) -> int:
        """Masked positions a row."""
        return int(self.mask_rate * (self.length - 2) + 0.5)

    @property
    def tokens(self) -> int:
        """Positions of a batch."""
        return self.rows * self.length


SHAPES = {
    "bert-base": Shape(12, 768, 12, 30_522, 16, 128, "all"),
    "demo": Shape(4, 256, 8, 8_192, 32, 128, "masked", 0.4),
    "bert-base-512": Shape(12, 768, 12, 30_522, 32, 512, "all"),
}
"""The last one is for GPUs: the paper's block length."""


def teacher_of(shape: Shape, device: torch.device) -> BertForMaskedLM:
    """A random BERT in fp32, frozen."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=shape.length,
    )
    config._attn_implementation = attention_for(device)
    return BertForMaskedLM(config).to(device).eval().requires_grad_(False)


def student_of(teacher: BertForMaskedLM, shape: Shape) -> DistilBertForMaskedLM:
    """Every second block of the teacher, in fp32, without dropout."""
    student = take_blocks(teacher, choose_layers("alternate", shape.layers), dropout=0.0)
    student.set_attn_implementation(attention_for(teacher.device))
    return student.to(teacher.device).train()


def batch_of(shape: Shape, device: torch.device) -> Batch:
    """A batch with random ids and masked positions."""
    ids = torch.randint(5, shape.vocabulary, (shape.rows, shape.length))
    positions = torch.stack([torch.randperm(shape.length - 2)[: shape.masked] + 1 for _ in range(shape.rows)])
    return Batch(*(t.to(device) for t in (ids, positions, ids.gather(1, positions))))


def rows_of(batch: Batch, rows: int) -> Batch:
    """The first rows of a batch without borders."""
    return Batch(batch.input_ids_RL[:rows], batch.positions_RM[:rows], batch.labels_RM[:rows])


def pieces_of(shape: Shape, rows: int, device: torch.device) -> Batch:
    """Rows of several documents each, as `documents` packs them: lengths as of a book's paragraphs (log-normal, 165
    tokens on average), cut in a block's last third, padding behind the last; masked positions among the text's."""
    rng, length = np.random.default_rng(0), shape.length
    fit, taken = BestFit(length=length, pad_id=0, window=256), 0
    parts: list[Rows] = []
    while taken < max(rows, 256):
        sizes: list[int] = []
        for left in np.maximum(rng.lognormal(np.log(100), 1.0, 1000), 8).astype(int).tolist():
            while left > length:
                sizes.append(int(rng.integers(2 * length // 3, length + 1)))
                left -= sizes[-1]
            sizes.append(max(3, left))
        parts.append(fit.add(Tokens([2, *rng.integers(5, shape.vocabulary, size - 2).tolist(), 3]) for size in sizes))
        taken += len(parts[-1])
    segments = [part.segments_RL for part in parts if part.segments_RL is not None]
    every = Rows(np.concatenate([part.ids_RL for part in parts]), np.concatenate(segments))
    blocks = every[np.linspace(0, len(every) - 1, rows).astype(int)]
    rule = mask_rule(
        np.ones(shape.vocabulary, dtype=np.int64),
        special_ids=(0, 1, 2, 3, 4),
        mask_id=4,
        block_length=length,
        rate=shape.mask_rate,
        smoothing=0.0,
    )
    return micro_batches(mask(blocks, np.arange(rows), epoch=0, seed=0, rule=rule), rows, device)[0]


def ours(
    shape: Shape,
    device: torch.device,
    *,
    packing: Literal["documents", "stream"] = "stream",
    attention: str = "",
    compiled: bool = False,
) -> Callable[[int], None]:
    """A whole optimiser step as a training does it, over so many rows: forward, backward, clipping, AdamW."""
    teacher = teacher_of(shape, device)
    student = student_of(teacher, shape)
    if attention:
        teacher.set_attn_implementation(attention)
        student.set_attn_implementation(attention)
    module, batch = DistillationModule(student, LossWeights(ce_positions=shape.ce_positions)), batch_of(shape, device)
    packed: dict[int, Batch] = {}
    arithmetic = arithmetic_of(device)
    frozen = freeze(teacher, arithmetic.dtype)
    if compiled:
        compile_blocks(student)
        compile_blocks(frozen)
    optimizer = adamw(student, learning_rate=1e-5, weight_decay=0.0)

    def step(rows: int) -> None:
        counts = Counts(positions=rows * shape.length, masked=rows * shape.masked)
        if packing == "documents" and rows not in packed:
            packed[rows] = pieces_of(shape, rows, device)
        accumulate(module, frozen, [packed.get(rows) or rows_of(batch, rows)], counts, arithmetic)
        update(module, optimizer, 1e-5, arithmetic)

    return step


def arithmetic_of(device: torch.device) -> Arithmetic:
    """The precision that a worker takes on this device."""
    dtype = dtype_of("auto", device)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    return Arithmetic(device=device, dtype=dtype, scaler=scaler)


def no_gradients(model: nn.Module) -> None:
    """Clear a model's gradients as `update` does."""
    for parameter in model.parameters():
        parameter.grad = None
