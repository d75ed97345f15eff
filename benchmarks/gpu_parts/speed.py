"""Tokens a second, MFU and memory of a whole step by micro-batch, beside the original's maths and the bare products.

A step is one micro-batch, clipping and AdamW. Variants take turns; figures are medians. MFU = FLOPs of the step's
matrix products (`step.flops`: 2·n·i·o of each product with a weight, once forward in the teacher, three times in the
student, and attention's; nothing recomputed counts) · steps a second / the vendor's dense peak.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from shapes import Shape, ours
from step import MATRIX_PEAK, Variant, flops, products, reference, seconds_of

from gpu_parts.sizes import Figures, Note, Sizes
from stages.distillation.models.piece_attention import PIECES

Make = Callable[[Shape, torch.device], Variant]
VARIANTS: dict[str, Make] = {
    "ours": ours,
    "reference_bf16": partial(reference, bf16=True),
    "matmul_limit": products,
}


def peak_flops(device: torch.device) -> float | None:
    """The vendor's dense bf16 FLOP/s of this card; None where it is not in the table."""
    if device.type != "cuda":
        return None
    card = torch.cuda.get_device_name(device)
    return next((peak for part, peak in MATRIX_PEAK.items() if part in card), None)


def in_turns(steps: dict[str, Variant], rows: int, rounds: int, device: torch.device) -> dict[str, Figures]:
    """Median seconds and peak MiB of each variant's step over so many rows; one that has no room is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    peaks: dict[str, float] = {}
    for turn in range(rounds + 2):
        for name in list(seconds):
            try:
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                    before = torch.cuda.memory_allocated()
                    steps[name](rows)  # its memory is taken anew, outside of what is timed
                    peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
                took = seconds_of(steps[name], rows, device)
            except torch.OutOfMemoryError:
                del seconds[name]
                continue
            if turn > 1:
                seconds[name].append(took)
    return {name: {"seconds": median(took), "peak_mb": peaks.get(name)} for name, took in seconds.items()}


def figures(shape: Shape, rows: int, found: dict[str, Figures], peak: float | None) -> list[Figures]:
    """A row a variant: tokens/s, MFU, memory, and how `ours` compares."""
    table = []
    for name, one in found.items():
        speed = rows * shape.length / one["seconds"]
        table.append(
            {
                "micro_batch": rows,
                "variant": name,
                "tokens_per_second": round(speed),
                "mfu": peak and flops(shape, rows) / one["seconds"] / peak,
                "peak_mb": one["peak_mb"] and round(one["peak_mb"]),
                "ours_is_faster_by": one["seconds"] / found["ours"]["seconds"],
            }
        )
    return table


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """Every micro-batch."""
    shape, peak = sizes.base, peak_flops(device)
    steps = {name: make(shape, device) for name, make in VARIANTS.items()}
    note({"flops_of_8192_tokens": flops(shape, 8192 // shape.length), "vendor_peak": peak})
    table: list[Figures] = []
    for rows in sizes.micro_batches:
        steps["matmul_limit"] = products(shape, device)  # it keeps every size's tensors
        found = in_turns(steps, rows, sizes.rounds, device)
        table += figures(shape, rows, found, peak)
        note({"speed": table})
    best = max((row for row in table if row["variant"] == "ours"), key=lambda row: row["tokens_per_second"])
    note({"best": best, "gpu_hours_of_13e9_tokens": 13e9 / best["tokens_per_second"] / 3600})


def beside_compiled(sizes: Sizes, device: torch.device, note: Note) -> None:
    """The reference under torch.compile, and ours with both models' blocks compiled, on stream and on documents; then
    ours, compiled, at larger micro-batches. On a card alone."""
    if device.type != "cuda":
        note({"beside_compiled": "on a card alone"})
        return
    shape, peak = sizes.base, peak_flops(device)
    documents = partial(ours, shape, device, packing="documents", attention=PIECES)
    steps = {
        "ours": ours(shape, device),
        "ours, compiled": ours(shape, device, compiled=True),
        "documents": documents(),
        "documents, compiled": documents(compiled=True),
        "reference_compiled": reference(shape, device, bf16=True, compiled=True),
    }
    table = figures(shape, sizes.one_size, in_turns(steps, sizes.one_size, sizes.rounds, device), peak)
    note({"beside_compiled": table})
    del steps["reference_compiled"]
    for rows in (4 * sizes.one_size, 8 * sizes.one_size):
        table += figures(shape, rows, in_turns(steps, rows, sizes.rounds, device), peak)
        note({"beside_compiled": table})
