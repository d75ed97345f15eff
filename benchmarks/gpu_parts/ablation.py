"""Each of our own choices switched off in turn, at one size: what a step takes then, beside the step as it is."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from shapes import Shape, arithmetic_of, batch_of, rows_of, student_of, teacher_of
from step import Variant, seconds_of
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpu_parts.sizes import Figures, Note, Sizes
from stages.distillation import step as step_module
from stages.distillation.data.batch import Batch
from stages.distillation.losses import cpu as losses_cpu
from stages.distillation.losses import formulas
from stages.distillation.losses import gpu as losses_gpu
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.frozen import freeze
from stages.distillation.step import Counts, DistillationModule, accumulate, adamw, update

ENCODE_TEACHER = step_module.encode_teacher
CHUNKS = (1 << 26, 1 << 27, 1 << 29, 1 << 30)


@contextmanager
def changed(owner: Any, name: str, value: object) -> Iterator[None]:
    """`owner.name` is `value` meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def untied(student: nn.Module) -> None:
    """The decoder's table gets a copy of its own."""
    student.vocab_projector.weight = nn.Parameter(student.vocab_projector.weight.detach().clone())


def encode_teacher_in_its_own_dtype(teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """`step.encode_teacher` without autocast: its LayerNorms stay in the weights' dtype."""
    with torch.autocast(batch.input_ids_RL.device.type, enabled=False):
        return ENCODE_TEACHER(teacher, batch)


def training(shape: Shape, device: torch.device, *, attention: str | None = None, tied: bool = True) -> Variant:
    """`shapes.ours` with another attention, or the decoder's table untied."""
    teacher = teacher_of(shape, device)
    student = student_of(teacher, shape)
    if attention:
        teacher.set_attn_implementation(attention)
        student.set_attn_implementation(attention)
    if not tied:
        untied(student)
    arithmetic = arithmetic_of(device)
    module, frozen = (
        DistillationModule(student, LossWeights(ce_positions=shape.ce_positions)),
        freeze(teacher, arithmetic.dtype),
    )
    optimizer, batch = adamw(student, learning_rate=1e-5, weight_decay=0.0), batch_of(shape, device)

    def step(rows: int) -> None:
        counts = Counts(positions=rows * shape.length, masked=rows * shape.masked)
        accumulate(module, frozen, [rows_of(batch, rows)], counts, arithmetic)
        update(module, optimizer, 1e-5, arithmetic)

    return step


def choices(device: torch.device) -> dict[str, AbstractContextManager[Any]]:
    """What to change, as contexts around the same step."""
    found: dict[str, AbstractContextManager[Any]] = {
        "as it is": nullcontext(),
        "teacher outside of autocast": changed(step_module, "encode_teacher", encode_teacher_in_its_own_dtype),
    }
    if device.type == "cuda":
        for size in CHUNKS:
            found[f"chunks of {size >> 20} MiB"] = changed(losses_gpu, "CHUNK_BYTES", size)
        found["vocabulary not rounded up"] = changed(losses_gpu, "ALIGNED", 1)
        found["losses by ordinary operations"] = changed(losses_gpu, "compiles", lambda device: False)
        for name in ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH"):
            found[f"SDPA: {name.lower()}"] = sdpa_kernel(getattr(SDPBackend, name))
        return found
    for positions in (64, 2048):
        found[f"chunks of {positions:,} positions"] = changed(losses_cpu, "CHUNK", positions)
    found["head's gradient in one product"] = changed(losses_cpu, "WORDS", 10**9)
    found["losses written plainly"] = changed(losses_cpu, "slab_by_slab", formulas.dense)
    return found


def timed(step: Variant, rows: int, rounds: int, device: torch.device) -> Figures:
    """Median milliseconds and the peak, after two steps that are not counted."""
    try:
        for _ in range(2):
            seconds_of(step, rows, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        took = median(seconds_of(step, rows, device) for _ in range(rounds))
    except (torch.OutOfMemoryError, RuntimeError) as error:  # an SDPA kernel that cannot do this
        return {"ms": None, "peak_mb": None, "why": str(error).splitlines()[0][:120]}
    peak = round(torch.cuda.max_memory_allocated() / 2**20) if device.type == "cuda" else None
    return {"ms": took * 1e3, "peak_mb": peak, "why": ""}


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """One step through all contexts, "as it is" again at the end; then steps that are built otherwise."""
    shape, rows, rounds = replace(sizes.base, rows=sizes.one_size), sizes.one_size, sizes.rounds
    step, table = training(shape, device), []
    for name, context in [*choices(device).items(), ("as it is, again", nullcontext())]:
        with context:
            table.append({"changed": name, **timed(step, rows, rounds, device)})
        note({"micro_batch": rows, "ablation": table})
    builds: dict[str, Figures] = {
        "attention: eager": {"attention": "eager"},
        "table untied": {"tied": False},
    }
    for name, build in builds.items():
        other = training(shape, device, **build)
        table.append({"changed": name, **timed(other, rows, rounds, device)})
        note({"ablation": table})
