"""Teacher, student and the untouched student side by side on held-out text: quality, closeness, size and latency."""

import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from stages.context import StageContext, stage
from stages.distil.artifact import Student
from stages.distillation.families.family import LanguageModel
from stages.distillation.models.parts import encode, parameter_count
from stages.distillation.score import Closeness, Scores
from stages.errors import unwrap
from stages.evaluation.artifact import ModelScore, Report
from stages.evaluation.config import EvaluateConfig
from stages.evaluation.heldout import Heldout, heldout, score_all
from stages.models import load_model
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.tokens.blocks import Blocks

_MODELS = ("teacher", "student_at_init", "student")


@dataclass(frozen=True)
class _Measured:
    """What the task brings back: numbers only."""

    parameters: dict[str, int]
    scores: dict[str, Scores]
    closeness: Closeness
    latency_ms: dict[str, float]


@stage(name="evaluate", version=1)
def evaluate(
    config: EvaluateConfig, teacher: Teacher, student: Student, blocks: Blocks, context: StageContext
) -> Report:
    """Score all three models on the same held-out rows and masks; runs as a Ray task, on a GPU where there is one."""
    folders = dict(zip(_MODELS, (teacher.folder, student.start, student.folder), strict=True))
    gpus = min(1, ray.cluster_resources().get("GPU", 0))
    task = ray.remote(num_cpus=1, num_gpus=gpus)(measure).options(num_returns="streaming")
    measured: _Measured | None = None
    try:
        for done, reference in enumerate(task.remote(config, folders, blocks), start=1):
            measured = ray.get(reference)
            context.on_progress(done, len(_MODELS) + 1, "measurements")
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error
    assert measured is not None, "the last of the measurements is the whole"
    losses = {name: measured.scores[name].mlm_loss.numpy() for name in _MODELS}
    buffer = io.BytesIO()
    np.savez(buffer, teacher=losses["teacher"], student_at_init=losses["student_at_init"], student=losses["student"])
    context.folder.write_bytes("losses.npz", buffer.getvalue())
    scores = {name: _model_score(measured, name) for name in _MODELS}
    return Report(
        folder=context.folder,
        **scores,
        kept_top1=scores["student"].top1 / scores["teacher"].top1 if scores["teacher"].top1 else 0.0,
        size_ratio=scores["student"].parameters / scores["teacher"].parameters,
        speedup=scores["teacher"].latency_ms / scores["student"].latency_ms,
        agreement=float(measured.closeness.agreement.mean()),
        kl=float(measured.closeness.kl.mean()),
        cosine=float(measured.closeness.cosine.mean()),
        heldout_digest=f"{blocks.heldout_digest[:32]}-{len(losses['teacher'])}",
        objective=teacher.objective,
        heldout_tokens=round(len(losses["teacher"]) * blocks.block_length * blocks.heldout_fill),
    )


def _model_score(measured: _Measured, name: str) -> ModelScore:
    scores = measured.scores[name]
    loss = float(scores.mlm_loss.mean())
    return ModelScore(
        parameters=measured.parameters[name],
        bytes=4 * measured.parameters[name],
        mlm_loss=loss,
        perplexity=float(np.exp(loss)),
        top1=float(scores.top1.mean()),
        latency_ms=measured.latency_ms[name],
    )


def measure(config: EvaluateConfig, folders: dict[str, Folder], blocks: Blocks) -> Iterator[_Measured | None]:
    """Load the models, by name, and measure them; yields None after each of them is scored, and all in the end."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    models = {name: load_model(folder, torch.float32, device).eval() for name, folder in folders.items()}
    held = heldout(blocks, most=config.blocks, micro_batch=config.micro_batch, device=device)
    scores, closeness = {}, None
    for name, model in models.items():
        scores[name], closer = score_all(model, held, models["teacher"] if name == "student" else None)
        closeness = closer or closeness
        yield None
    assert closeness is not None, "one of the models is the student"
    yield _Measured(
        parameters={name: parameter_count(model) for name, model in models.items()},
        scores={name: Scores(s.mlm_loss.cpu(), s.top1.cpu()) for name, s in scores.items()},
        closeness=Closeness(*(t.cpu() for t in (closeness.kl, closeness.agreement, closeness.cosine))),
        latency_ms=latencies(models, held, config.latency_rounds),
    )


@torch.inference_mode()
def latencies(models: dict[str, LanguageModel], held: Heldout, rounds: int) -> dict[str, float]:
    """Median milliseconds of an encoder forward on CPU, batch 1, one full block, fp32, the models taking turns.

    In turns, because a shared machine's speed drifts: what slows one model down slows the others down as much.
    """
    block = held.batches[0].first(torch.device("cpu"))
    on_cpu = {name: model.cpu() for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in on_cpu}
    for turn in range(rounds + 3):
        for name, model in on_cpu.items():
            started = time.perf_counter()
            encode(model, block.input_ids_RL, block.segments)
            if turn >= 3:  # the first ones warm caches and threads
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * median(values) for name, values in seconds.items()}


def block_losses(config: EvaluateConfig, folder: str, blocks: Blocks) -> NDArray[np.float64]:
    """Mean masked-LM loss per held-out block, (blocks,), of another model of the same vocabulary, in this process."""
    device = torch.device("cpu")
    held = heldout(blocks, most=config.blocks, micro_batch=config.micro_batch, device=device)
    scores, _ = score_all(load_model(Folder(folder), torch.float32, device).eval(), held)
    return scores.mlm_loss.numpy()
