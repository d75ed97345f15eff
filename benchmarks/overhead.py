"""What do Ray Data, Ray Train, reports and checkpoints cost beside the bare step?

    python benchmarks/overhead.py [--part bert-base] [--part demo] [--part two-workers] [--seconds 65] [--json]

Trains a student of a random teacher on synthetic blocks through the training's driver, as `distil run` does, with one
worker: masks, reports every 10 steps, an epoch boundary, a checkpoint in the middle. `pipeline_ratio` is its tokens per
second, from the second step's end to the last step's end by the wall clock, divided by the bare step's:
`accumulate` and `update` with the very models, optimiser, threads and arithmetic, in the same process as soon as the
training is over, on its last batch. `two_worker_ratio`: two workers of one thread each, divided by one worker of two
threads, both through the pipeline. With `--json` the last line is one object; no ratio for a part left out.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from shapes import SHAPES, Shape, student_of, teacher_of
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

import stages.training.worker
from pipeline.runtime.cluster import cluster
from stages.context import StageContext
from stages.distillation.losses.weights import LossWeights
from stages.storage import Folder
from stages.tokens.blocks import Blocks, Shard
from stages.tokens.loading import load_tokenizer
from stages.tokens.vocabulary import vocabulary_of
from stages.training.config import TrainConfig
from stages.training.driver import train
from stages.training.job import Job, TrainingTask

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
WARM = 2
"""Steps that are not counted: the first ones load code, and wait for the first batch."""
PARTS = ("bert-base", "demo", "two-workers")
STEPS_A_SECOND = {"bert-base": 0.25, "demo": 2.8}
"""About what two cores do: a training's number of steps follows from it, and is measured again if it was too short."""


class Clock:
    """Stands before a function of the loop: notes when each call ends, and what the last one was given."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.ended: list[float] = []
        self.arguments: tuple[Any, ...] = ()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.arguments = arguments
        result = self.function(*arguments, **named)
        self.ended.append(time.perf_counter())
        return result


def timed_loop(config: dict[str, ray.ObjectRef[Job]]) -> None:
    """The worker's loop as it is; then, where there is one worker, the bare step. Leaves seconds a step in a file.

    Imports here, as Ray sends this function by value to the workers.
    """
    import torch
    import torch.distributed as dist

    import stages.training.worker

    forward, step = Clock(stages.training.worker.accumulate), Clock(stages.training.worker.update)
    stages.training.worker.accumulate, stages.training.worker.update = forward, step
    stages.training.worker.loop(config)
    job, seconds = ray.get(config["job"]), step.ended[-1] - step.ended[WARM - 1]
    found = {"steps": len(step.ended) - WARM, "seconds": seconds, "threads": torch.get_num_threads()}
    if job.config.workers == 1:
        bare: list[float] = []
        while sum(bare[1:]) < seconds / 3:
            started = time.perf_counter()
            forward.function(*forward.arguments)
            step.function(*step.arguments)
            bare.append(time.perf_counter() - started)
        found["bare"] = sum(bare[1:]) / len(bare[1:])
    if job.config.workers == 1 or dist.get_rank() == 0:
        job.folder.write_bytes("timed.json", json.dumps(found).encode())


def lesson_of(shape: Shape, folder: Path) -> TrainingTask:
    """A random teacher and a student of it on disk, with a tokenizer of as many words."""
    words = {word: number for number, word in enumerate((*SPECIAL, *(f"w{n}" for n in range(shape.vocabulary - 5))))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    teacher = teacher_of(shape, torch.device("cpu"))
    for name, model in (("teacher", teacher), ("start", student_of(teacher, shape))):
        model.save_pretrained(folder / name)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROLES).save_pretrained(folder / name)
    weights = LossWeights(ce_positions=shape.ce_positions)
    return TrainingTask(start=Folder(str(folder / "start")), teacher=Folder(str(folder / "teacher")), weights=weights)


def blocks_of(shape: Shape, rows: int, folder: Path, tokenizer: Path) -> Blocks:
    """Random blocks in two shards, and a few held-out ones."""
    ids = np.random.default_rng(0).integers(len(SPECIAL), shape.vocabulary, (rows + 8, shape.length), dtype=np.int32)
    ids[:, 0], ids[:, -1] = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")
    parts = {"train-0": ids[: rows // 2], "train-1": ids[rows // 2 : rows], "heldout-0": ids[rows:]}
    for name, part in parts.items():
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), shape.length)
        pq.write_table(pa.table({"ids": column}), folder / f"{name}.parquet", row_group_size=1024)
    np.save(folder / "counts.npy", np.bincount(ids[:rows].ravel(), minlength=shape.vocabulary))
    shards = {name: Shard(name=f"{name}.parquet", rows=len(part)) for name, part in parts.items()}
    return Blocks(
        folder=Folder(str(folder)),
        shards=(shards["train-0"], shards["train-1"]),
        heldout=(shards["heldout-0"],),
        block_length=shape.length,
        vocabulary=vocabulary_of(load_tokenizer(tokenizer)),
        tokens=rows * shape.length,
        heldout_tokens=8 * shape.length,
        tail_tokens=0,
        refused_blocks=0,
        unknown_rate=0.0,
        heldout_digest="none",
    )


def trained(shape: Shape, steps: int, *, workers: int, threads: int) -> dict[str, float]:
    """What `timed_loop` found in one training of so many steps, over one epoch boundary."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = lesson_of(shape, folder)
        (folder / "blocks").mkdir()
        blocks = blocks_of(shape, steps * shape.rows * 2 // 3, folder / "blocks", folder / "start")
        middle = steps // 2 + 1
        config = TrainConfig(
            steps=steps, global_batch=shape.rows, micro_batch=shape.rows, learning_rate=1e-5, dropout=0.0,
            mask_rate=shape.mask_rate, workers=workers, threads=threads, checkpoint_every=middle,
            evaluate_every=steps, evaluate_blocks=8, max_failures=0,
        )  # fmt: skip
        whole, stages.training.worker.loop = (
            stages.training.worker.loop,
            timed_loop,
        )  # for the workers: `train` looks it up there
        try:
            train(config, task, blocks, StageContext(folder=Folder(str(folder / "training")), seed=0))
        finally:
            stages.training.worker.loop = whole
        found: dict[str, float] = json.loads((folder / "training" / "timed.json").read_text())
    found |= {"tokens_per_second": found["steps"] * shape.tokens / found["seconds"]}
    print(f"{workers} worker(s) of {threads} thread(s): {found}", file=sys.stderr, flush=True)
    return found


def measure(parts: Sequence[str], seconds: float, threads: int) -> dict[str, object]:
    """All ratios asked for, and what they were made of."""
    steps = {name: WARM + 1 + round(seconds * rate) for name, rate in STEPS_A_SECOND.items()}
    runs: dict[str, dict[str, float]] = {}
    with cluster():
        for name in STEPS_A_SECOND:
            if name in parts or (name == "demo" and "two-workers" in parts):
                runs[name] = trained(SHAPES[name], steps[name], workers=1, threads=threads)
        if "two-workers" in parts:
            runs["two-workers"] = trained(SHAPES["demo"], steps["demo"], workers=2, threads=max(1, threads // 2))
    found: dict[str, object] = {
        "pipeline_ratio": {
            name: run["bare"] * run["steps"] / run["seconds"] for name, run in runs.items() if "bare" in run
        }
    }
    if "two-workers" in runs:
        found["two_worker_ratio"] = runs["two-workers"]["tokens_per_second"] / runs["demo"]["tokens_per_second"]
    return found | {"runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="all unless given; two-workers runs demo too")
    parser.add_argument("--seconds", type=float, default=65.0, help="about how long each training's steps take")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of all workers together")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = measure(asked.part or PARTS, asked.seconds, asked.threads)
    if asked.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
