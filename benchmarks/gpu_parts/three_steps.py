"""Three whole optimiser steps beside the same on the CPU in fp32: forward, backward, clipping, AdamW."""

from dataclasses import dataclass

import torch
from shapes import Shape, batch_of, student_of, teacher_of
from torch import Tensor

from gpu_parts.sizes import Figures, Note, Sizes
from stages.distillation.data.batch import Batch
from stages.distillation.hardware import attention_for
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.step import Arithmetic, Counts, DistillationModule, accumulate, adamw, update

STEPS = 3
ALLOWED = {torch.float32: (1e-4, 0.999), torch.bfloat16: (2e-2, 0.9), torch.float16: (5e-3, 0.97)}
"""By dtype: the most that a loss or gradient norm may differ by, and the least cosine between the two updates. AdamW's
first steps are all but the gradients' signs, so where a gradient is near 0 rounding turns an update around."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What three steps came to: per step [KL, CE, 1 − cos] means and the gradient's norm; all weights' change."""

    losses: Tensor
    norms: Tensor
    change: Tensor


def steps_on(shape: Shape, device: torch.device, dtype: torch.dtype) -> Outcome:
    """Three steps of two micro-batches each, from the same weights and rows wherever they run."""
    torch.manual_seed(0)
    teacher = teacher_of(shape, device)
    with torch.no_grad():
        for parameter in teacher.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)  # as they are drawn, all words are all but equally likely
    teacher.set_attn_implementation(attention_for(device))
    student = student_of(teacher, shape)
    before = torch.cat([p.detach().flatten().cpu() for p in student.parameters()])
    # A GPU scales what it computes in fp16; from 2^16, three steps would be spent on finding a scale that fits.
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16, init_scale=1024.0)
    arithmetic = Arithmetic(device=device, dtype=dtype, scaler=scaler)
    module, frozen = DistillationModule(student, LossWeights()), freeze(teacher, dtype)
    optimizer = adamw(student, learning_rate=1e-4, weight_decay=0.01)
    counts = Counts(positions=shape.tokens, masked=shape.rows * shape.masked)
    batch = batch_of(shape, device)
    half = shape.rows // 2 + 1
    parts = [
        Batch(*(t[cut] for t in (batch.input_ids_RL, batch.positions_RM, batch.labels_RM)))
        for cut in (slice(0, half), slice(half, None))
    ]
    losses, norms = [], []
    for _ in range(STEPS):
        losses.append(accumulate(module, frozen, parts, counts, arithmetic).cpu())
        norms.append(update(module, optimizer, 1e-4, arithmetic).cpu())
    after = torch.cat([p.detach().flatten().cpu() for p in student.parameters()])
    means = torch.stack(losses) / torch.tensor([counts.positions, counts.masked, counts.positions])
    return Outcome(losses=means, norms=torch.stack(norms).double(), change=after - before)


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """fp32, bf16 and fp16 on the device beside fp32 on the CPU."""
    truth = steps_on(sizes.small, torch.device("cpu"), torch.float32)
    rows: list[Figures] = []
    faults: list[str] = []
    for dtype, (most, least) in ALLOWED.items():
        found = steps_on(sizes.small, device, dtype)
        row: Figures = {
            "dtype": str(dtype)[6:],
            "loss_difference": float(((found.losses - truth.losses).abs() / truth.losses).max()),
            "norm_difference": float(((found.norms - truth.norms).abs() / truth.norms).max()),
            "update_cosine": float(torch.nn.functional.cosine_similarity(found.change, truth.change, dim=0)),
            "update_size": float(found.change.norm() / truth.change.norm()),
        }
        rows.append(row)
        if not (max(row["loss_difference"], row["norm_difference"]) <= most and row["update_cosine"] >= least):
            faults.append(f"{row['dtype']} is off by more than {most}, or its update's cosine below {least}: {row}")
        note({"faults": faults, "beside_cpu_fp32": rows})
    names = ("kl", "cross_entropy", "cosine_distance")
    note({"losses_cpu": [dict(zip(names, step, strict=True)) for step in truth.losses.tolist()]})
