"""Trainings of a tiny student for tests: what is trained, how, and what was heard of it."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import ray
import torch
from published import tiny_tokenizer
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file
from tiny import WORDS, tiny_bert

from stages.context import StageContext
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.student import take_blocks
from stages.storage import Folder
from stages.training.config import TrainConfig
from stages.training.driver import Trained
from stages.training.job import Job, TrainingTask
from stages.training.worker import loop

SEED, STEPS = 3, 12
CONFIG = TrainConfig(
    steps=STEPS, global_batch=12, micro_batch=4, learning_rate=5e-3, warmup=0.2, precision="fp32", threads=1,
    checkpoint_every=4, keep_checkpoints=9, evaluate_every=6, evaluate_blocks=10, log_every=2, max_failures=0,
)  # fmt: skip


@dataclass
class Run:
    """A training's folder, and all that was reported of it."""

    folder: Path
    trained: Trained | None = None
    metrics: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    progress: list[tuple[float, float, str]] = field(default_factory=list)
    checkpoints: list[tuple[int, Folder]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    should_stop: Callable[[], bool] = lambda: False

    def context(self) -> StageContext:
        return StageContext(
            folder=Folder(str(self.folder)),
            seed=SEED,
            on_metrics=lambda step, found: self.metrics.append((step, dict(found))),
            on_progress=lambda *progress: self.progress.append(progress),
            on_checkpoint=lambda step, folder: self.checkpoints.append((step, folder)),
            on_notice=self.notices.append,
            should_stop=self.should_stop,
        )

    def tensors(self, step: int, file: str = "model") -> dict[str, torch.Tensor]:
        return load_file(self.folder / "checkpoints" / f"step-{step:08d}" / f"{file}.safetensors")


def here(job: Job) -> None:
    """One worker's loop in this process, Ray Data and the mailbox with it: what a training does where no process of
    its own is asked for, without the ten seconds that Ray Train takes to start one."""
    assert job.config.workers == 1
    threads = torch.get_num_threads()
    try:
        local = ScalingConfig(num_workers=0)  # Ray Train's local mode
        TorchTrainer(loop, train_loop_config={"job": ray.put(job)}, scaling_config=local).fit()
    finally:
        torch.set_num_threads(threads)


def tiny_task(folder: Path) -> TrainingTask:
    """A student of two blocks, from a teacher of three."""
    teacher = tiny_bert(layers=3)
    for name, model in (("teacher", teacher), ("start", take_blocks(teacher, (0, 2), dropout=0.1))):
        model.save_pretrained(folder / name)
        tiny_tokenizer(WORDS).save_pretrained(folder / name)
    return TrainingTask(
        start=Folder(str(folder / "start")), teacher=Folder(str(folder / "teacher")), weights=LossWeights()
    )


def assert_bit_identical(found: Run, expected: Run, step: int) -> None:
    """Weights and moments at `step`."""
    for file in ("model", "optimizer"):
        mine, theirs = found.tensors(step, file), expected.tensors(step, file)
        assert mine.keys() == theirs.keys()
        assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def damage(file: Path) -> None:
    """Flip a bit in the first page's data; the file's end, which says what is where, stays as it was."""
    data = bytearray(file.read_bytes())
    data[120] ^= 4
    file.write_bytes(bytes(data))


def kill_a_worker_at(folder: Path, step: int, killed: list[int]) -> None:
    """SIGKILL one of the training's processes once rank 0 has done `step` steps; which one is found out beforehand."""
    deadline, workers = time.monotonic() + 200, []
    while time.monotonic() < deadline:
        logs = list((folder / "rows").glob("*-rank-0.csv")) if (folder / "rows").exists() else []
        if logs and not workers:
            ours = psutil.Process().children(recursive=True)  # another Ray may be at work on this machine
            workers = [process.pid for process in ours if "RayTrainWorker" in " ".join(process.cmdline())]
        if workers and logs[0].read_text().count("\n") >= step:
            killed.append(workers[0])
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.02)
