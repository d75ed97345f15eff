"""How does training scale: measured for one and two workers here, and projected on paper to 256 GPUs.

    python benchmarks/scale.py [--steps 30] [--json]

Measured: tokens/s of the demo's shape with one and with two workers of one thread each, on this machine (so two workers
share its memory and caches); bytes that DDP hands to an all-reduce in a step, counted as it does; bytes of a stored
token, and tokens that one core reads and masks in a second. By arithmetic: what a restart moves out of the store
(`tests/stages/training/start` counts it at a real one, for up to four workers). Projected: BERT-base's step as the
paper has it, by the formula of benchmarks/projection.py, printed with every assumption. With `--json` the last line is
one object.
"""

import argparse
import json
import os
import sys
import sysconfig
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
from projection import FORMULA, Assumptions, project, restart
from shapes import SHAPES, Shape, arithmetic_of, batch_of, rows_of, student_of, teacher_of
from step import flops
from torch.nn.parallel import DistributedDataParallel

from pipeline import recipes
from pipeline.cli.quiet_libraries import quiet_libraries
from pipeline.runtime.cluster import start_local
from stages.context import StageContext
from stages.corpus.config import CorpusConfig
from stages.corpus.stage import gather
from stages.distil.stage import distil
from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import mask_rule
from stages.distillation.losses.weights import LossWeights
from stages.distillation.step import Counts, DistillationModule, accumulate
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.config import TeacherConfig
from stages.teacher.stage import fetch
from stages.tokens.blocks import Blocks
from stages.tokens.config import TokensConfig
from stages.tokens.stage import pack
from stages.training.loader import share_of

GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FILES = 300
"""Of the standard library's source, as text: a few million characters that lie on every machine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    quiet_libraries(False)
    with tempfile.TemporaryDirectory() as home:
        found = measured(Path(home), asked.steps)
    given = Assumptions(
        flops_per_token=flops(SHAPES["bert-base-512"], 1) / SHAPES["bert-base-512"].length,
        gradient_bytes=allreduce_bytes(SHAPES["bert-base-512"]),
        checkpoint_bytes=3 * allreduce_bytes(SHAPES["bert-base-512"]),
        teacher_bytes=teacher_bytes(SHAPES["bert-base-512"]),
        data_bytes_per_token=found["data_bytes_per_token"],
        masked_tokens_per_core=found["masked_tokens_per_core"],
    )
    points = [project(given, gpus) for gpus in GPUS]
    for name, value in found.items():
        print(f"{name:32} {value:,.3f}")
    print(f"\n{FORMULA}\n")
    for name, value in asdict(given).items():
        print(f"{name:32} {value:,.4g}")
    print("\n GPUs     tokens/s  efficiency   step s  all-reduce s  not hidden s  data MB/s  data cores")
    for p in points:
        note = "" if p.allowed else "  refused: the plan has no stream for each worker"
        print(
            f"{p.gpus:5} {p.tokens_per_second:12,.0f} {p.efficiency:11.2f} {p.step_seconds:8.2f} "
            f"{p.allreduce_seconds:13.3f} {p.exposed_seconds:13.3f} {p.data_bytes_per_second / 1e6:10.2f} "
            f"{p.data_cores:11.2f}{note}"
        )
    again = [restart(given, gpus) for gpus in (1, 8, 64)]
    print("\n GPUs  restart: MB out of the store  checkpoints  if every rank read, MB  seconds")
    for r in again:
        print(
            f"{r.gpus:5} {r.store_bytes / 1e6:30,.0f} {r.checkpoints:12.2f} {r.every_rank_bytes / 1e6:23,.0f} "
            f"{r.seconds:8.1f}"
        )
    if asked.json:
        table = {"restart": [asdict(r) for r in again], "projection": [asdict(p) for p in points]}
        table |= {"assumptions": asdict(given), "formula": FORMULA}
        print(json.dumps(found | table))


def measured(home: Path, steps: int) -> dict[str, float]:
    """What this machine tells."""
    start_local(max(4, len(os.sched_getaffinity(0))))
    teacher, blocks = material(home)
    one, two = (tokens_per_second(home, teacher, blocks, workers, steps) for workers in (1, 2))
    stored = sum((blocks.folder.path / shard.name).stat().st_size for shard in blocks.shards)
    return {
        "tokens_per_second_1": one,
        "tokens_per_second_2": two,
        "efficiency_2": two / (2 * one),
        "allreduce_bytes_per_step": allreduce_bytes(SHAPES["demo"]),
        "data_bytes_per_token": stored / (blocks.rows * blocks.block_length),
        "masked_tokens_per_core": masked_per_second(blocks),
    }


def material(home: Path) -> tuple[Teacher, Blocks]:
    """The demo's teacher, and blocks of real text packed with its tokenizer."""
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")) + sorted(
        Path(sysconfig.get_path("stdlib")).glob("*/*.py")
    )
    texts = (" ".join(source.read_text(errors="ignore").split()) for source in sources[:FILES])
    (home / "text.txt").write_text("\n".join(texts))
    files = CorpusConfig(source="files", paths=(str(home / "text.txt"),), heldout_fraction=0.1)
    corpus = gather(files, place(home, "corpus"))
    teacher = fetch(TeacherConfig(model="demo"), place(home, "teacher"))
    return teacher, pack(TokensConfig(block_length=128, packing="stream"), corpus, teacher, place(home, "tokens"))


def place(home: Path, name: str) -> StageContext:
    return StageContext(folder=Folder(str(home / name)), seed=0)


def tokens_per_second(home: Path, teacher: Teacher, blocks: Blocks, workers: int, steps: int) -> float:
    """The median over reports, without the first third: caches are cold and buckets not yet arranged."""
    rates: list[float] = []
    context = StageContext(
        folder=Folder(str(home / f"distil-{workers}")),
        seed=0,
        on_metrics=lambda step, metrics: rates.append(metrics["tokens_per_second"]),
    )
    config = replace(
        recipes.demo().distil, steps=steps, workers=workers, threads=1, micro_batch=32 // workers, log_every=1,
        evaluate_every=steps, checkpoint_every=steps, evaluate_blocks=8,
    )  # fmt: skip
    distil(config, teacher, blocks, context)
    return median(rates[len(rates) // 3 : -1])


def allreduce_bytes(shape: Shape) -> float:
    """Bytes of the buckets that DDP hands to its all-reduce in one backward pass over the student of `shape`."""
    if not dist.is_initialized():
        with tempfile.NamedTemporaryFile() as rendezvous:
            dist.init_process_group("gloo", init_method=f"file://{rendezvous.name}-ddp", rank=0, world_size=1)
    teacher = teacher_of(shape, torch.device("cpu"))
    weights = LossWeights(ce_positions=shape.ce_positions)
    module = DistributedDataParallel(DistillationModule(student_of(teacher, shape), weights))
    sent: list[int] = []

    def count(_: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        sent.append(bucket.buffer().nbytes)
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    module.register_comm_hook(None, count)
    counts = Counts(positions=shape.length, masked=shape.masked)
    batch = rows_of(batch_of(shape, torch.device("cpu")), 1)
    accumulate(module, teacher, [batch], counts, arithmetic_of(torch.device("cpu")))
    return float(sum(sent))


def teacher_bytes(shape: Shape) -> float:
    """Of its weights, as they are stored."""
    return float(sum(weight.nbytes for weight in teacher_of(shape, torch.device("cpu")).parameters()))


def masked_per_second(blocks: Blocks) -> float:
    """Tokens that this process alone reads from storage and masks in a second."""
    vocabulary = blocks.vocabulary
    rule = mask_rule(
        blocks.counts(), special_ids=vocabulary.special_ids, mask_id=vocabulary.mask_id,
        block_length=blocks.block_length, rate=0.15, smoothing=0.7,
    )  # fmt: skip
    rows = tuple(shard.rows for shard in blocks.shards)
    plan = Plan(shard_rows=rows, global_batch=32, steps=sum(rows) // 32, seed=0)
    share = share_of(blocks, plan, rule, seed=0, worker=0, workers=1, first_step=0)
    pieces = share.pieces()
    share.read(pieces[0])  # loads code
    started = time.process_time()
    for piece in pieces:
        share.read(piece)
    return plan.steps * 32 * blocks.block_length / (time.process_time() - started)


if __name__ == "__main__":
    sys.exit(main())
