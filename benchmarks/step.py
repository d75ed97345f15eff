"""How fast is one training step, beside the same loss written plainly and beside its matrix products alone?

    python benchmarks/step.py [--shape demo] [--rounds 5] [--profile] [--json]

All variants run in one process and take turns, so that a machine whose speed drifts slows all of them alike; figures
are medians. Needs torch and transformers and no Ray. With `--json` the last line is one object.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.distillation.losses import LossWeights
from stages.distillation.step import Arithmetic, Batch, Counts, Learner, accumulate
from stages.distillation.student import choose_layers, take_blocks


@dataclass(frozen=True)
class Shape:
    """A teacher, and a micro-batch of R rows of L tokens."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    rows: int
    length: int
    ce_positions: str

    @property
    def masked(self) -> int:
        """Masked positions a row."""
        return int(0.15 * (self.length - 2) + 0.5)


SHAPES = {
    "bert-base": Shape(12, 768, 12, 30_522, 16, 128, "all"),
    "demo": Shape(4, 256, 8, 8_192, 32, 128, "masked"),
}


def models(shape: Shape, device: torch.device) -> tuple[BertForMaskedLM, nn.Module]:
    """(teacher, student of every second block), random and in fp32."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        max_position_embeddings=shape.length,
    )
    config._attn_implementation = "sdpa" if device.type == "cuda" else "eager"
    teacher = BertForMaskedLM(config).to(device).eval().requires_grad_(False)
    student = take_blocks(teacher, choose_layers("alternate", shape.layers), dropout=0.0).to(device).train()
    student.set_attn_implementation("sdpa" if device.type == "cuda" else "eager")
    return teacher, student


def batch_of(shape: Shape, device: torch.device) -> Batch:
    """A micro-batch with random ids and masked positions."""
    ids = torch.randint(5, shape.vocabulary, (shape.rows, shape.length))
    positions = torch.stack([torch.randperm(shape.length - 2)[: shape.masked] + 1 for _ in range(shape.rows)])
    return Batch(*(t.to(device) for t in (ids, positions, ids.gather(1, positions))))


def ours(shape: Shape, device: torch.device) -> Callable[[], None]:
    """Forward and backward as training does them, in the dtype that this device multiplies fast."""
    teacher, student = models(shape, device)
    weights = LossWeights(ce_positions=shape.ce_positions)  # type: ignore[arg-type]
    learner, batch = Learner(student, weights), batch_of(shape, device)
    counts = Counts(positions=shape.rows * shape.length, masked=shape.rows * shape.masked)
    scaler = torch.amp.GradScaler(device.type, enabled=False)
    arithmetic = Arithmetic(device=device, dtype=torch.bfloat16, scaler=scaler)
    frozen = teacher.to(torch.bfloat16)

    def step() -> None:
        accumulate(learner, frozen, [batch], counts, arithmetic)
        learner.zero_grad()

    return step


def reference(shape: Shape, device: torch.device, dtype: torch.dtype) -> Callable[[], None]:
    """The original's maths as written: every logit of both models, masked_select, KLDivLoss, CrossEntropyLoss."""
    teacher, student = models(shape, device)
    batch = batch_of(shape, device)
    labels = torch.full_like(batch.input_ids_RL, -100).scatter_(1, batch.positions_RM, batch.labels_RM)
    chosen = labels != -100 if shape.ce_positions == "masked" else torch.ones_like(labels, dtype=torch.bool)
    kl, ce, cosine = nn.KLDivLoss(reduction="batchmean"), nn.CrossEntropyLoss(), nn.CosineEmbeddingLoss()

    def select(logits: Tensor) -> Tensor:
        return torch.masked_select(logits, chosen.unsqueeze(-1).expand_as(logits)).view(-1, logits.size(-1))

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype != torch.float32):
            with torch.no_grad():
                t = teacher(input_ids=batch.input_ids_RL, output_hidden_states=True)
            s = student(input_ids=batch.input_ids_RL, output_hidden_states=True)
            soft = kl((select(s.logits) / 2).log_softmax(-1), (select(t.logits) / 2).softmax(-1)) * 4
            hidden_s, hidden_t = (o.hidden_states[-1].flatten(0, 1) for o in (s, t))
            loss = 5 * soft + 2 * ce(s.logits.flatten(0, 1), labels.flatten())
            loss = loss + cosine(hidden_s, hidden_t, hidden_s.new_ones(len(hidden_s)))
        loss.backward()
        student.zero_grad()

    return step


def products(shape: Shape, device: torch.device) -> Callable[[], None]:
    """The matrix products of `ours` alone, each on tensors of its own size; attention's among them."""
    n, d, v = shape.rows * shape.length, shape.width, shape.vocabulary
    masked, student = shape.rows * shape.masked, shape.layers // 2
    head = n if shape.ce_positions == "all" else masked
    linear = [(n, d, d)] * 4 + [(n, d, 4 * d), (n, 4 * d, d)]
    pairs = [(rows, inner, columns) for rows, inner, columns in linear * (shape.layers + student)]
    pairs += [(rows, columns, inner) for rows, inner, columns in linear * student]  # d input
    pairs += [(inner, rows, columns) for rows, inner, columns in linear * student]  # d weight
    pairs += [(head, d, v)] * 2 + [(head, v, d), (v, head, d)] + [(head, d, d)] * 4
    make = {size: [torch.randn(size, device=device, dtype=torch.bfloat16) for size in (size[:2], size[1:])]
            for size in set(pairs)}  # fmt: skip
    batches = shape.rows * shape.heads
    q = torch.randn(batches, shape.length, d // shape.heads, device=device, dtype=torch.bfloat16)
    scores = q @ q.transpose(1, 2)
    attentions = shape.layers + 3 * student  # forward of both, twice as much backward in the student

    def step() -> None:
        for size in pairs:
            torch.mm(*make[size])
        for _ in range(attentions):
            torch.bmm(q, q.transpose(1, 2))
            torch.bmm(scores, q)

    return step


def timed(step: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(shape: Shape, rounds: int, device: torch.device) -> dict[str, float]:
    """Tokens per second of every variant, medians of alternating runs, and the ratios between them."""
    steps = {
        "ours": ours(shape, device),
        "reference_fp32": reference(shape, device, torch.float32),
        "reference_bf16": reference(shape, device, torch.bfloat16),
        "matmul_limit": products(shape, device),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            took = timed(step, device)
            if turn:  # the first one warms up
                seconds[name].append(took)
    speed = {name: shape.rows * shape.length / median(times) for name, times in seconds.items()}
    ratios = {
        f"vs_{name.removeprefix('reference_')}": speed["ours"] / speed[name]
        for name in ("reference_fp32", "reference_bf16")
    }
    return {**speed, **ratios, "vs_limit": speed["ours"] / speed["matmul_limit"]}


def profile(shape: Shape, device: torch.device) -> str:
    """Where the time of `ours` goes, by operation."""
    step = ours(shape, device)
    step()
    with torch.profiler.profile() as found:
        for _ in range(3):
            step()
    return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="both unless given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, object] = {"device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu"}
    for name in asked.shape or SHAPES:
        found[name] = {**measure(SHAPES[name], asked.rounds, device), "shape": asdict(SHAPES[name])}
        if not asked.json:
            print(name, {key: round(value, 2) for key, value in measure_only(found[name]).items()})
        if asked.profile:
            print(profile(SHAPES[name], device))
    found["peak_mb_of_process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if asked.json:
        print(json.dumps(found))


def measure_only(found: object) -> dict[str, float]:
    """The numbers of a measurement, without its shape."""
    assert isinstance(found, dict)
    return {key: value for key, value in found.items() if isinstance(value, float)}


if __name__ == "__main__":
    main()
