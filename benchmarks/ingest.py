"""What does it cost to make blocks of text, and to read them: time, memory, and what a kill costs?

    python benchmarks/ingest.py [--part tokenize] [--part stream] [--part read] [--part memory] [--part resume]
                                [--mb 20] [--sizes 20,200] [--cpus 2] [--json]

tokenize: the stage `tokens`, tokens a second, divided by the bare tokenizers library's on the same documents
  (`tokenize_vs_library`) and by `datasets.map(batched=True, num_proc=2)` that tokenises and cuts to length, as the
  usual scripts do (`tokenize_vs_datasets_map`). What starting Ray's processes takes is left out, by a packing before.
stream: reading and masking in one process, divided by what a step at the demo's size learns from (`stream_vs_step`).
read: bytes that the plan's windows read of the shards, divided by what their rows need (`read_amplification`), for
  short documents and for books: counted by the kernel (`rchar`), compressed, footers included.
memory: both stages on text of each of `--sizes` MB, in a process of their own: `peak_mb`, all processes and the object
  store together; `peak_growth` and `time_linearity`: the last size beside the one before (--sizes 200,2000).
resume: both stages are killed at a random moment and run again: `resumed_share`, of the tasks that had begun those that
  were not run again.

The text is this repository's documentation, its paragraphs in random order, each with a number of its own. With
`--json` the last line is one object.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import torch
from ingest_text import DEMO, ROOT, gathered, packed, write_text
from scale import masked_per_second
from shapes import SHAPES, ours

from pipeline.runtime.cluster import start_local
from stages.corpus.artifact import Corpus
from stages.corpus.documents import documents
from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import mask_rule
from stages.tokens.blocks import Blocks
from stages.tokens.loading import load_tokenizer
from stages.training.loader import Piece, share_of

LENGTH = 128
Figures = dict[str, Any]


def tokenize(folder: Path, megabytes: float) -> Figures:
    """The stage beside the bare library and beside datasets.map, tokens a second."""
    small = gathered(write_text(folder / "small.jsonl", 1), folder / "small")
    packed(small, folder / "small")
    corpus = gathered(write_text(folder / "text.jsonl", megabytes), folder / "large")
    seconds, blocks = timed(lambda: packed(corpus, folder / "large"))
    tokens = blocks.tokens + blocks.heldout_tokens
    library, found = timed(lambda: bare(corpus))
    mapped, _ = timed(lambda: by_datasets(corpus, folder / "mapped"))
    return {
        "tokens_per_second": tokens / seconds,
        "tokenize_vs_library": library / seconds * tokens / found,
        "tokenize_vs_datasets_map": mapped / seconds * tokens / found,
    }


def bare(corpus: Corpus) -> int:
    """Tokens of all documents, by the library alone on all cores."""
    tokenizer = load_tokenizer(DEMO.folder.path).backend_tokenizer
    names = (*corpus.shards, *corpus.heldout_shards)
    some = (texts for name in names for texts in documents(corpus.folder, name))
    return sum(len(one.ids) + 2 for texts in some for one in tokenizer.encode_batch_fast(texts))


def by_datasets(corpus: Corpus, cache: Path) -> int:
    """The usual script: tokenise, join, cut; two processes, Arrow files."""
    from datasets import load_dataset

    files = [f"{corpus.folder.path}/{name}" for name in (*corpus.shards, *corpus.heldout_shards)]
    texts = load_dataset("parquet", data_files=files, split="train", cache_dir=str(cache))
    folder = str(DEMO.folder.path)

    def blocks_of(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        tokenizer = load_tokenizer(folder)
        line = [i for ids in tokenizer(batch["text"])["input_ids"] for i in ids]
        whole = len(line) // LENGTH * LENGTH
        return {"input_ids": [line[i : i + LENGTH] for i in range(0, whole, LENGTH)]}

    return len(texts.map(blocks_of, batched=True, num_proc=2, remove_columns=texts.column_names))


def stream_and_step(folder: Path, megabytes: float) -> Figures:
    """Tokens a second and core of reading and masking, beside those of a step on the cores it has."""
    blocks = packed(gathered(write_text(folder / "text.jsonl", megabytes), folder), folder)
    read = masked_per_second(blocks)
    shape = SHAPES["demo"]
    step = ours(shape, torch.device("cpu"))
    step(shape.rows)
    started = time.process_time()
    for _ in range(5):
        step(shape.rows)
    learned = 5 * shape.tokens * torch.get_num_threads() / (time.process_time() - started)
    return {"masked_per_second": read, "step_tokens_per_second": learned, "stream_vs_step": read / learned}


def read_amplification(folder: Path, megabytes: float) -> Figures:
    """By kind of document."""
    found: Figures = {}
    for kind in ("short", "books"):
        text = write_text(folder / f"{kind}.jsonl", megabytes, kind)
        found[f"read_amplification_{kind}"] = amplification(packed(gathered(text, folder / kind), folder / kind))
    return found | {"read_amplification": max(found.values())}


def amplification(blocks: Blocks) -> float:
    """Bytes that 8 workers read for their shares of an epoch's windows, over the bytes that its rows have."""
    rows = tuple(shard.rows for shard in blocks.shards)
    plan = Plan(shard_rows=rows, global_batch=256, steps=max(1, sum(rows) // 256), seed=0)
    rule = mask_rule(blocks.counts(), special_ids=blocks.vocabulary.special_ids, mask_id=4, block_length=LENGTH)
    shares = [share_of(blocks, plan, rule, seed=0, worker=worker, workers=8, first_step=0) for worker in range(8)]
    before, taken = bytes_read(), 0
    for share in shares:
        for window in plan.windows(0):
            taken += len(share.read(Piece(window, window.first_step, window.first_step + window.steps))[0])
    read = bytes_read() - before
    stored = sum((blocks.folder.path / shard.name).stat().st_size for shard in blocks.shards) / sum(rows)
    return read / (stored * taken)


def bytes_read() -> int:
    """By this process so far, from files and all else."""
    return int(Path("/proc/self/io").read_text().split()[1])


def memory(folder: Path, sizes: list[float], cpus: int) -> Figures:
    """Peak and time by size."""
    found: Figures = {}
    runs = []
    for size in sizes:
        text = write_text(folder / "text.jsonl", size)
        runs.append(one_run(text, folder / f"{size:g}", cpus))
        found |= {f"peak_mb_{size:g}": runs[-1]["peak_mb"], f"seconds_{size:g}": runs[-1]["seconds"]}
    if len(runs) > 1:
        found["peak_growth"] = runs[-1]["peak_mb"] / runs[-2]["peak_mb"]
        found["time_linearity"] = runs[-1]["seconds"] / runs[-2]["seconds"] * sizes[-2] / sizes[-1]
    return found


def command(text: Path, folder: Path, cpus: int) -> list[str]:
    """Both stages in a process of their own."""
    return [sys.executable, str(ROOT / "benchmarks" / "ingest_text.py"), str(text), str(folder), str(cpus)]


def one_run(text: Path, folder: Path, cpus: int) -> Figures:
    """What it says at its end."""
    said = subprocess.run(command(text, folder, cpus), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(said.strip().splitlines()[-1])


def resume(folder: Path, megabytes: float, cpus: int) -> Figures:
    """Kill the driver once some tasks have ended, at a random moment; run it again; look at what was written anew."""
    text, out = write_text(folder / "text.jsonl", megabytes), folder / "out"
    wanted = random.Random(os.getpid()).randint(1, max(1, int(megabytes // 4)))
    with subprocess.Popen(command(text, out, cpus), stdout=subprocess.DEVNULL, start_new_session=True) as child:
        while len(ended(out)) < wanted and child.poll() is None:
            time.sleep(0.05)
        time.sleep(random.random())
        if child.poll() is not None:
            raise SystemExit("the run was over before it could be killed: give it more text (--mb)")
        os.kill(child.pid, signal.SIGKILL)
    before, begun = ended(out), len(list(out.rglob("train/*.parquet")))
    time.sleep(5)  # its tasks end with it, but not at once
    one_run(text, out, cpus)
    kept = sum(ended(out).get(file) == at for file, at in before.items())
    return {"tasks_ended_before_the_kill": len(before), "resumed_share": kept / max(len(before), begun)}


def ended(folder: Path) -> dict[Path, int]:
    """The results that tasks left, and when."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob("finished/*.json")}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("tokenize", "stream", "read", "memory", "resume")
    parser.add_argument("--part", action="append", choices=names)
    parser.add_argument("--mb", type=float, default=20)
    parser.add_argument("--sizes", default="20,200")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    sizes = [float(size) for size in asked.sizes.split(",")]
    parts: dict[str, Callable[[Path], Figures]] = {
        "tokenize": lambda folder: tokenize(folder, asked.mb),
        "stream": lambda folder: stream_and_step(folder, asked.mb),
        "read": lambda folder: read_amplification(folder, asked.mb),
        "memory": lambda folder: memory(folder, sizes, asked.cpus),
        "resume": lambda folder: resume(folder, asked.mb, asked.cpus),
    }
    found: Figures = {}
    for name in asked.part or names:
        if name in ("tokenize", "stream", "read") and not ray.is_initialized():
            start_local(asked.cpus)
        if name in ("memory", "resume"):
            ray.shutdown()
        with TemporaryDirectory() as folder:
            found |= parts[name](Path(folder))
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<30} {value:.3f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
