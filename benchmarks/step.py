"""How fast is one training step, beside the same loss written plainly and beside its matrix products alone?

    python benchmarks/step.py [--shape demo] [--rounds 5] [--no-memory] [--profile] [--packing] [--record] [--json]

A step is forward pass, backward pass, clipping and AdamW over one batch, dropout off; `matmul_limit` is the matrix
products of `ours` alone, nothing else. Speed: all variants run in one process and take turns, so that a machine whose
speed drifts slows all of them alike; figures are medians. Memory, `peak_mb`: what a step needs beyond weights and the
optimiser's state, gradients included; on a CPU the most that the kernel saw resident in a process of the variant's
own (a step of one row has loaded all code before), on a GPU what torch allocated. `vs_…` are ratios of speed, `ours`
above; `documents_vs_stream` is that of blocks of several documents, padding not counted as tokens, to blocks without
borders. Needs torch and transformers and no Ray. With `--json` the last line is one object; `--record` puts the speeds
of `ours` where `distil describe` finds them (benchmarks/measured.py).
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from shapes import SHAPES, Shape, batch_of, no_gradients, ours, pieces_of, rows_of, student_of, teacher_of
from torch import Tensor, nn

from stages.distillation.hardware import dtype_of, keep_freed_memory
from stages.machine import processor

MATRIX_PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "4090": 165e12, "T4": 65e12}
"""Dense bf16 (T4: fp16) FLOP/s that vendors state, by a part of the card's name."""
Variant = Callable[[int], None]
"""One step over the first so many rows of a batch."""


def reference(shape: Shape, device: torch.device, *, bf16: bool, compiled: bool = False) -> Variant:
    """The original's maths as written: every logit of both models, masked_select, KLDivLoss, CrossEntropyLoss.

    `compiled`: both models and the losses by torch.compile for one number of rows; where every position counts nothing
    is selected, as the compiler could not go through that.
    """
    teacher = teacher_of(shape, device)
    student, whole = student_of(teacher, shape), batch_of(shape, device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0)
    kl, ce, cosine = nn.KLDivLoss(reduction="batchmean"), nn.CrossEntropyLoss(), nn.CosineEmbeddingLoss()
    make = partial(torch.compile, dynamic=False) if compiled else lambda plain: plain
    read_teacher, read_student = make(teacher), make(student)

    def triple(t: Tensor, s: Tensor, hidden_t: Tensor, hidden_s: Tensor, labels: Tensor) -> Tensor:
        chosen = labels != -100 if shape.ce_positions == "masked" else torch.ones_like(labels, dtype=torch.bool)

        def select(logits: Tensor) -> Tensor:
            if compiled and shape.ce_positions == "all":
                return logits.flatten(0, 1)
            return torch.masked_select(logits, chosen.unsqueeze(-1).expand_as(logits)).view(-1, logits.size(-1))

        soft = kl((select(s) / 2).log_softmax(-1), (select(t) / 2).softmax(-1)) * 4
        loss = 5 * soft + 2 * ce(s.flatten(0, 1), labels.flatten())
        hidden_t, hidden_s = hidden_t.flatten(0, 1), hidden_s.flatten(0, 1)
        return loss + cosine(hidden_s, hidden_t, hidden_s.new_ones(len(hidden_s)))

    losses = make(triple)

    def loss_of(rows: int) -> Tensor:
        batch = rows_of(whole, rows)
        labels = torch.full_like(batch.input_ids_RL, -100).scatter_(1, batch.positions_RM, batch.labels_RM)
        with torch.no_grad():
            t = read_teacher(input_ids=batch.input_ids_RL, output_hidden_states=True)
        s = read_student(input_ids=batch.input_ids_RL, output_hidden_states=True)
        return losses(t.logits, s.logits, t.hidden_states[-1], s.hidden_states[-1], labels)

    def step(rows: int) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = loss_of(rows)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        no_gradients(student)

    return step


def product_sizes(shape: Shape, rows: int) -> list[tuple[str, int, int, int]]:
    """(kind, rows, inner, outer) of every product of `ours` with a weight: y = x·Wᵀ, dx = dy·W, dW = dyᵀ·x."""
    n, d, v = rows * shape.length, shape.width, shape.vocabulary
    student = shape.layers // 2
    head = n if shape.ce_positions == "all" else rows * shape.masked
    block = [(n, d, d)] * 4 + [(n, d, 4 * d), (n, 4 * d, d)]
    forward = block * (shape.layers + student) + [(head, d, d), (head, d, v)] * 2
    backward = block * student + [(head, d, d), (head, d, v)]
    return [("y", *s) for s in forward] + [(kind, *s) for kind in ("dx", "dw") for s in backward]


def flops(shape: Shape, rows: int) -> float:
    """Floating-point operations of a step's matrix products, attention's among them."""
    attention = (shape.layers + 3 * (shape.layers // 2)) * 2 * rows * shape.length**2 * shape.width
    return 2.0 * (sum(n * i * o for _, n, i, o in product_sizes(shape, rows)) + attention)


def products(shape: Shape, device: torch.device) -> Variant:
    """The matrix products of `ours` alone, each on tensors of its own size and layout, in the dtype of `ours`."""
    make = partial(torch.randn, device=device, dtype=dtype_of("auto", device))
    weights = {(i, o): make(o, i) for _, _, i, o in product_sizes(shape, 1)}
    attentions = shape.layers + 3 * (shape.layers // 2)  # forward in both, twice as much backward in the student
    held: dict[int, tuple[dict[tuple[int, int], Tensor], Tensor, Tensor]] = {}

    def tensors(rows: int) -> tuple[dict[tuple[int, int], Tensor], Tensor, Tensor]:
        sizes = {(n, width) for _, n, i, o in product_sizes(shape, rows) for width in (i, o)}
        query = make(rows * shape.heads, shape.length, shape.width // shape.heads)
        return {size: make(size) for size in sizes}, query, query @ query.transpose(1, 2)

    def step(rows: int) -> None:
        if rows not in held:
            held[rows] = tensors(rows)
        activations, query, scores = held[rows]
        for kind, n, i, o in product_sizes(shape, rows):
            if kind == "y":
                nn.functional.linear(activations[n, i], weights[i, o])
            elif kind == "dx":
                activations[n, o] @ weights[i, o]
            else:
                activations[n, o].t() @ activations[n, i]
        for _ in range(attentions):
            query @ query.transpose(1, 2)
            scores @ query

    return step


VARIANTS: dict[str, Callable[[Shape, torch.device], Variant]] = {
    "ours": ours,
    "reference_fp32": partial(reference, bf16=False),
    "reference_bf16": partial(reference, bf16=True),
    "matmul_limit": products,
    "ours_documents": partial(ours, packing="documents"),
}
PACKINGS = ("ours", "ours_documents")
"""What is to be compared on a machine where the references take minutes."""


def seconds_of(step: Variant, rows: int, device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step(rows)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def speeds(
    shape: Shape, rounds: int, device: torch.device, variants: Collection[str] = tuple(VARIANTS)
) -> dict[str, float]:
    """Tokens per second of the variants: medians of runs in turn, after one round that is not counted."""
    steps = {name: VARIANTS[name](shape, device) for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            took = seconds_of(step, shape.rows, device)
            if turn:
                seconds[name].append(took)
    real = {"ours_documents": real_tokens(shape, device)}
    return {name: real.get(name, shape.tokens) / median(times) for name, times in seconds.items()}


def real_tokens(shape: Shape, device: torch.device) -> int:
    """Of a batch of packed documents: all but padding."""
    segments = pieces_of(shape, shape.rows, device).segments
    assert segments is not None, "documents have borders"
    return len(segments.real_N)


def peak_mb(name: str, shape: Shape, device: torch.device) -> float:
    """MiB that a step of one variant takes beyond what is there before it; on a CPU call it in a fresh process."""
    step = VARIANTS[name](shape, device)
    step(1)  # loads code and makes the optimiser's state
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(shape.rows)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's high-water mark starts again: proc(5)
    before = resident_kb("VmRSS")
    for _ in range(2):
        step(shape.rows)
    return (resident_kb("VmHWM") - before) / 1024


def resident_kb(field: str) -> int:
    """A line of /proc/self/status: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def peak_of_own_process(name: str, shape: str, threads: int) -> float:
    """`peak_mb` of a variant in a process of its own."""
    command = [sys.executable, __file__, "--peak-of", name, "--shape", shape, "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure(name: str, rounds: int, threads: int, device: torch.device, *, memory: bool) -> dict[str, Any]:
    """Everything about one shape."""
    shape = SHAPES[name]
    speed = speeds(shape, rounds, device)
    gc.collect()
    found: dict[str, Any] = {variant: {"tokens_per_second": round(speed[variant], 1)} for variant in VARIANTS}
    if memory:
        for variant in VARIANTS:
            own = device.type != "cuda"
            peak = peak_of_own_process(variant, name, threads) if own else peak_mb(variant, shape, device)
            found[variant]["peak_mb"] = round(peak, 1)
        found["memory_ratio"] = found["ours"]["peak_mb"] / found["reference_fp32"]["peak_mb"]
    found |= {
        "vs_fp32": speed["ours"] / speed["reference_fp32"],
        "vs_bf16": speed["ours"] / speed["reference_bf16"],
        "vs_limit": speed["ours"] / speed["matmul_limit"],
        "documents_vs_stream": speed["ours_documents"] / speed["ours"],
        "tflops": flops(shape, shape.rows) * speed["ours"] / shape.tokens / 1e12,
        "shape": asdict(shape),
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_name(0)
        most = next((peak for part, peak in MATRIX_PEAK.items() if part in card), None)
        found["mfu"] = most and flops(shape, shape.rows) * speed["ours"] / shape.tokens / most
    return found


def profile(shape: Shape, device: torch.device) -> str:
    """Where the time of `ours` goes, by operation."""
    step = ours(shape, device)
    step(shape.rows)
    with torch.profiler.profile() as found:
        for _ in range(3):
            step(shape.rows)
    by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=by, row_limit=25, max_name_column_width=48)


def table(name: str, found: dict[str, Any]) -> str:
    """A measurement as a person reads it."""
    lines = [f"{name}:"]
    for key, value in found.items():
        if isinstance(value, dict) and "tokens_per_second" in value:
            memory = f" {value['peak_mb']:>8,.0f} MiB" if "peak_mb" in value else ""
            lines.append(f"  {key:15} {value['tokens_per_second']:>10,.0f} tokens/s{memory}")
        elif isinstance(value, float):
            lines.append(f"  {key:15} {value:>10.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="bert-base and demo unless given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true", help="speed alone")
    parser.add_argument("--packing", action="store_true", help="documents beside a stream, and nothing else")
    parser.add_argument("--profile", action="store_true", help="print where a step's time goes, and nothing else")
    parser.add_argument("--peak-of", choices=VARIANTS, help="print one variant's peak_mb, and nothing else")
    parser.add_argument("--record", action="store_true", help="for `distil describe`: into pipeline/cost/measured.json")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    names = asked.shape or ["bert-base", "demo"]
    if asked.peak_of:
        print(peak_mb(asked.peak_of, SHAPES[names[0]], device))
        return
    if asked.profile:
        for name in names:
            print(profile(SHAPES[name], device))
        return
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "dtype": str(dtype_of("auto", device)).removeprefix("torch."),
        "rounds": asked.rounds,
    }
    if asked.packing:
        for name in names:
            speed = speeds(SHAPES[name], asked.rounds, device, PACKINGS)
            found[name] = speed | {"documents_vs_stream": speed["ours_documents"] / speed["ours"]}
        print(json.dumps(found))
        return
    for name in names:
        found[name] = measure(name, asked.rounds, asked.threads, device, memory=not asked.no_memory)
        if not asked.json:
            print(table(name, found[name]))
    if asked.record:
        from measured import of_step, record  # which counts operations as this does

        record(of_step(found))
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
