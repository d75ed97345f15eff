"""200 steps in fp16 with a scaled loss, on random rows that are learned by heart: nothing that is no number is kept."""

import torch
from shapes import batch_of, rows_of, student_of, teacher_of

from gpu_parts.sizes import Note, Sizes
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.step import Arithmetic, Counts, DistillationModule, accumulate, adamw, update


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """From a scale that is far too large, so that steps are skipped until one fits."""
    shape = sizes.small
    teacher = teacher_of(shape, device)
    student = student_of(teacher, shape)
    scaler = torch.amp.GradScaler(device.type, init_scale=2.0**28, growth_interval=50)
    arithmetic = Arithmetic(device=device, dtype=torch.float16, scaler=scaler)
    module, frozen = DistillationModule(student, LossWeights()), freeze(teacher, torch.float16)
    optimizer = adamw(student, learning_rate=5e-4, weight_decay=0.0)
    counts = Counts(positions=shape.tokens, masked=shape.rows * shape.masked)
    batch = rows_of(batch_of(shape, device), shape.rows)
    skipped, kept, losses, scales, faults = 0, 0, [], [], []
    for _ in range(sizes.fp16_steps):
        before = [p.detach().clone() for p in student.parameters()]
        sums = accumulate(module, frozen, [batch], counts, arithmetic)
        norm = update(module, optimizer, 5e-4, arithmetic)
        scales.append(scaler.get_scale())
        if torch.isfinite(norm):
            losses.append(float(sums[1]) / counts.masked)
            kept += not torch.isfinite(sums).all()
        else:
            skipped += 1
            if any(not torch.equal(p, b) for p, b in zip(student.parameters(), before, strict=True)):
                faults.append("a step without a finite gradient changed the weights")
    if kept or not all(bool(torch.isfinite(p).all()) for p in student.parameters()):
        faults.append(f"{kept} losses that are no number were learned from, or a weight is none")
    if not losses or losses[-1] > 0.8 * losses[0]:
        faults.append(f"the masked-LM loss did not fall: {losses[:1]} to {losses[-1:]}")
    note(
        {
            "steps": sizes.fp16_steps,
            "skipped": skipped,
            "non_finite_kept": kept,
            "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None,
            "first_scale": scales[0],
            "last_scale": scales[-1],
            "faults": faults,
        }
    )
