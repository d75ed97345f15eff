"""Does a whole distillation run under Ray on a GPU, and go on after its worker was killed as if nothing had been?

    python benchmarks/gpu_ray.py [--steps 200] [--cpu]

The demo's teacher is halved on the text of this checkout, by the stages that `distil run` calls: twice, once left in
peace and once with its worker killed at half of the steps. Prints one object: `identical` says whether both students
are the same to the last bit. Needs ray[train,data] and pyarrow beside torch and transformers; neither MLflow nor an
installation. `--cpu` shows that the script works.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.distil.artifact import Student
from stages.distil.config import DistilConfig
from stages.distil.stage import distil
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.config import TeacherConfig
from stages.teacher.stage import fetch
from stages.tokens.blocks import Blocks
from stages.tokens.config import TokensConfig
from stages.tokens.stage import pack

ROOT = Path(__file__).resolve().parent.parent


def text_of(home: Path) -> Corpus:
    """The paragraphs of this checkout's Python files and pages, every tenth held out."""
    folders = [ROOT / part for part in ("stages", "pipeline", "docs", "tests")]
    files = sorted(file for folder in folders for kind in ("*.py", "*.md") for file in folder.rglob(kind))
    paragraphs = [p for file in files for p in file.read_text(encoding="utf-8").split("\n\n") if len(p) > 40]
    for name, texts in (("heldout", paragraphs[::10]), ("train", [p for i, p in enumerate(paragraphs) if i % 10])):
        (home / name).mkdir(parents=True)
        table = pa.table({"id": [str(i) for i in range(len(texts))], "text": texts})
        pq.write_table(table, home / name / "0.parquet")
    return Corpus(
        folder=Folder(str(home)),
        documents=len(paragraphs) - len(paragraphs[::10]),
        heldout_documents=len(paragraphs[::10]),
        characters=sum(map(len, paragraphs)),
        heldout_characters=0,
        digest="",
        shards=("train/0.parquet",),
        heldout_shards=("heldout/0.parquet",),
    )


def trained(name: str, config: DistilConfig, teacher: Teacher, blocks: Blocks, home: Path, kill_at: int) -> Student:
    """A student; its worker is killed, once, when step `kill_at` is reported."""
    killed: list[int] = []

    def on_metrics(step: int, metrics: object) -> None:
        if kill_at and step >= kill_at and not killed:
            for process in psutil.process_iter(["name", "cmdline"]):
                if "RayTrainWorker" in " ".join(process.info["cmdline"] or ()):
                    killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)

    context = StageContext(
        folder=Folder(str(home / name)), seed=1, on_metrics=on_metrics, on_notice=partial(print, file=sys.stderr)
    )
    student = distil(config, teacher, blocks, context)
    if kill_at and not killed:
        raise RuntimeError("no worker was found to be killed")
    return student


def digest(student: Student) -> str:
    """Of the student's weights."""
    return hashlib.sha256((student.folder.path / "model.safetensors").read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()
    started = time.perf_counter()
    # The workers find this checkout as the driver does.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ray.init(include_dashboard=False, log_to_driver=False, num_gpus=0 if asked.cpu else None)
    found: dict[str, object] = {
        "device": "cpu" if asked.cpu else torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "ray": ray.__version__,
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        corpus = text_of(home / "corpus")
        teacher = fetch(TeacherConfig(model="demo"), StageContext(folder=Folder(str(home / "teacher")), seed=0))
        blocks = pack(
            TokensConfig(block_length=128), corpus, teacher, StageContext(folder=Folder(str(home / "blocks")), seed=0)
        )
        config = DistilConfig(
            steps=asked.steps,
            global_batch=64,
            micro_batch=32,
            learning_rate=1e-3,
            checkpoint_every=max(1, asked.steps // 8),
            evaluate_every=asked.steps,
            log_every=5,
            gpu=not asked.cpu,
        )
        found |= {"blocks": blocks.rows, "fill": blocks.fill, "seconds_before": time.perf_counter() - started}
        students = {}
        for name, kill_at in (("left_in_peace", 0), ("killed", asked.steps // 2)):
            began = time.perf_counter()
            students[name] = trained(name, config, teacher, blocks, home, kill_at)
            speed = students[name].tokens_per_second
            found[name] = {"seconds": time.perf_counter() - began, "tokens_per_second": speed}
            print(name, found[name], file=sys.stderr)
        found["identical"] = digest(students["left_in_peace"]) == digest(students["killed"])
    ray.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
