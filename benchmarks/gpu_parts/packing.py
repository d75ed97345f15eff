"""Blocks of several documents beside a stream: what attention within pieces costs, and whether it is right.

Whole steps in turns, real tokens (no padding) a second; and the student's hidden states and gradients by each way,
beside the same in fp32 with a mask.
"""

from functools import partial

import torch
from shapes import Shape, arithmetic_of, no_gradients, ours, pieces_of, student_of, teacher_of
from step import Variant
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward

from gpu_parts.ablation import changed
from gpu_parts.sizes import Figures, Note, Sizes
from gpu_parts.speed import in_turns
from stages.distillation.data.batch import Batch
from stages.distillation.data.segments import Segments
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models import attention_mask, parts
from stages.distillation.models.piece_attention import PIECES
from stages.distillation.step import Counts, DistillationModule, accumulate

AttentionInterface.register("flex_pieces", flex_attention_forward)


def flex_mask(segments: Segments, *_: object, **__: object) -> BlockMask:
    """FlexAttention's own description of the pieces, in place of `allowed`; made anew for every micro-batch, as it
    would be in training."""
    numbers = segments.numbers_RL

    def together(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return numbers[row, query] == numbers[row, key]

    rows, length = numbers.shape
    return create_block_mask(together, rows, None, length, length, device=str(numbers.device))


def flexing(step: Variant) -> Variant:
    """The step with FlexAttention's mask where torch's fused attention gets truth."""

    def flexed(rows: int) -> None:
        with changed(attention_mask, "allowed", flex_mask):
            step(rows)

    return flexed


def steps_of(shape: Shape, device: torch.device) -> dict[str, Variant]:
    """Each way to a whole step."""
    documents = partial(ours, shape, device, packing="documents")
    found: dict[str, Variant] = {
        "stream": ours(shape, device),
        "documents, a mask": documents(attention="sdpa"),
        "documents, pieces": documents(attention=PIECES),
    }
    if device.type == "cuda":
        found["documents, FlexAttention"] = flexing(documents(attention="flex_pieces"))
    return found


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """Speed at two micro-batches, then errors."""
    table: list[Figures] = []
    steps = steps_of(sizes.base, device)
    for rows in (sizes.one_size, 2 * sizes.one_size):
        real = len(pieces_of(sizes.base, rows, device).segments.real_N)  # type: ignore[union-attr]
        found = in_turns(steps, rows, sizes.rounds, device)
        for name, one in found.items():
            tokens = rows * sizes.base.length if name == "stream" else real
            row = {"micro_batch": rows, "way": name, "real_tokens_per_second": round(tokens / one["seconds"])}
            beside = tokens / one["seconds"] / (rows * sizes.base.length / found["stream"]["seconds"])
            table.append(row | {"beside_stream": beside, "peak_mb": one["peak_mb"] and round(one["peak_mb"])})
        note({"packing": table})
    errors = errors_of(sizes.small, device)
    worst = {name: max(one["hidden"], one["gradient"]) for name, one in errors.items()}
    faults = [
        f"{name}: {error:.1e} beside a mask's {worst['sdpa']:.1e}"
        for name, error in worst.items()
        if error > 1.5 * worst["sdpa"] + 1e-6
    ]
    faults += [
        f"{name}: {one['differ']} gradients differ from pass to pass" for name, one in errors.items() if one["differ"]
    ]
    note({"errors": [{"attention": name, **one} for name, one in errors.items()], "faults": faults})


def errors_of(shape: Shape, device: torch.device) -> dict[str, Figures]:
    """Relative errors of hidden states and of the position table's gradient in bf16, beside fp32 with a mask."""
    batch = pieces_of(shape, shape.rows, device)
    exact = hidden_and_gradient(shape, batch, "sdpa", torch.float32)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    found: dict[str, Figures] = {}
    for name in ("sdpa", PIECES):
        pair = zip(hidden_and_gradient(shape, batch, name, dtype), exact, strict=True)
        errors = [float((mine.double() - right.double()).norm() / right.double().norm()) for mine, right in pair]
        found[name] = dict(zip(("hidden", "gradient"), errors, strict=True)) | {"differ": differing(shape, batch, name)}
    return found


def differing(shape: Shape, batch: Batch, attention: str, passes: int = 4) -> int:
    """How many parameters' gradients are not the same to the bit in equal passes of a step: a restart would show it."""
    device = batch.input_ids_RL.device
    teacher, arithmetic = teacher_of(shape, device), arithmetic_of(device)
    student = student_of(teacher, shape)
    student.set_attn_implementation(attention)
    module, found = DistillationModule(student, LossWeights()), []
    counts = Counts(positions=batch.input_ids_RL.numel(), masked=batch.labels_RM.numel())
    for _ in range(passes):
        accumulate(module, teacher, [batch], counts, arithmetic)
        found.append([parameter.grad for parameter in student.parameters()])
        no_gradients(student)
    pairs = zip(*found, strict=True)
    return sum(not all(torch.equal(one, same[0]) for one in same[1:]) for same in pairs)


def hidden_and_gradient(shape: Shape, batch: Batch, attention: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A student's hidden states where the text is, and its position table's gradient of their weighted sum."""
    device = batch.input_ids_RL.device
    student = student_of(teacher_of(shape, device), shape).to(dtype).requires_grad_(True)
    student.set_attn_implementation(attention)
    assert batch.segments is not None
    hidden = parts.encode(student, batch.input_ids_RL, batch.segments).flatten(0, 1)[batch.segments.real_N]
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0)).to(device, hidden.dtype)
    (hidden * weights).sum().backward()
    return hidden.detach(), student.distilbert.embeddings.position_embeddings.weight.grad
