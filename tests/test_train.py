"""Training end to end under Ray Train: it learns, reports, continues bit for bit, and two workers do as one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from trainings import CONFIG, SEED, STEPS, Run, assert_bit_identical
from transformers import AutoModelForMaskedLM

from stages import checkpoint
from stages.blocks import Blocks
from stages.distillation.plan import Plan
from stages.distillation.schedule import learning_rate_factor
from stages.distillation.step import Arithmetic, Counts, Learner, accumulate, adamw, update
from stages.errors import ConfigError, InputError
from stages.heldout import heldout, score_all
from stages.job import Job, Lesson
from stages.loop import micro_batches, rule_of
from stages.models import load_model
from stages.storage import Folder
from stages.stream import Piece, share_of
from stages.train import Trained, finished, gpu_wanted, train, worker_cpus
from stages.train_config import TrainConfig

pytestmark = pytest.mark.timeout(400)  # three trainings, each of several processes: 15 s on an idle machine
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole(ray_session: None, blocks: Blocks, lesson: Lesson, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One training from its first step to its last."""
    run = Run(tmp_path_factory.mktemp("whole"))
    run.trained = train(CONFIG, lesson, blocks, run.where())
    return run


def test_train_loss_falls_and_every_report_arrives_in_order(whole: Run) -> None:
    assert [step for step, _ in whole.metrics] == [2, 4, 6, 8, 10, 12]
    assert whole.progress == [(step, STEPS, "steps") for step in (2, 4, 6, 8, 10, 12)]
    losses = [metrics["loss"] for _, metrics in whole.metrics]
    assert losses[-1] < 0.9 * losses[0]
    for _, metrics in whole.metrics:
        parts = 5 * metrics["loss_ce"] + 2 * metrics["loss_mlm"] + metrics["loss_cos"]
        assert metrics["loss"] == pytest.approx(parts, rel=1e-5)
        assert metrics["grad_norm"] > 0
        assert metrics["tokens_per_second"] > 0
    rates = [metrics["learning_rate"] / 5e-3 for _, metrics in whole.metrics]
    assert rates == pytest.approx([learning_rate_factor(s, steps=STEPS, warmup=0.2) for s in (1, 3, 5, 7, 9, 11)])
    evaluated = [step for step, metrics in whole.metrics if "heldout_mlm_loss" in metrics]
    assert evaluated == [6, 12]
    assert whole.metrics[-1][1]["epoch"] == 2


def test_train_checkpoints_are_announced_kept_and_hold_the_history(whole: Run) -> None:
    assert [(step, folder.name) for step, folder in whole.checkpoints] == [
        (4, "step-00000004"), (8, "step-00000008"), (12, "step-00000012"),
    ]  # fmt: skip
    assert all(checkpoint.is_whole(folder) for _, folder in whole.checkpoints)
    assert whole.trained is not None
    assert whole.trained.checkpoint == whole.checkpoints[-1][1]
    assert [{**m, "step": s} for s, m in whole.metrics] == list(whole.trained.history)
    assert (whole.trained.steps, whole.trained.tokens) == (12, 12 * 12 * 16)
    assert not (whole.folder / "ray").exists()


def test_train_checkpoint_loaded_by_transformers_scores_as_training_said(whole: Run, blocks: Blocks) -> None:
    assert whole.trained is not None
    model = AutoModelForMaskedLM.from_pretrained(whole.trained.checkpoint.path)
    scores, _ = score_all(model, heldout(blocks, most=10, micro_batch=4, device=CPU))
    said = whole.trained.history[-1]
    assert scores.mlm_loss.mean().item() == pytest.approx(said["heldout_mlm_loss"], abs=1e-5)
    assert scores.top1.mean().item() == said["heldout_top1"]


def test_train_stopped_half_way_ends_bit_for_bit_as_if_it_had_not_been(
    whole: Run, blocks: Blocks, lesson: Lesson, tmp_path: Path
) -> None:
    """Step 4 is whole, step 8 was being written: training goes on from 4, dropout, order, masks and moments alike."""
    run = Run(tmp_path)
    for step in (4, 8):
        name = f"step-{step:08d}"
        shutil.copytree(whole.folder / "checkpoints" / name, tmp_path / "checkpoints" / name)
    (tmp_path / "checkpoints" / "step-00000008" / checkpoint.MANIFEST).unlink()
    trained = train(replace(CONFIG, keep_checkpoints=1), lesson, blocks, run.where())
    assert [step for step, _ in run.metrics] == [2, 4, 6, 8, 10, 12]  # those of the checkpoint are told once more
    assert run.notices == ["passed over a checkpoint: step-00000008: it has no manifest.json: writing it was cut short;"
                           " going on from step 4."]  # fmt: skip
    assert_bit_identical(run, whole, STEPS)
    assert whole.trained is not None
    assert _without_time(trained) == _without_time(whole.trained)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000012"]


def _without_time(trained: Trained) -> list[dict[str, float]]:
    return [
        {k: v for k, v in report.items() if k not in ("tokens_per_second", "checkpoint")} for report in trained.history
    ]


def plain_training(config: TrainConfig, lesson: Lesson, blocks: Blocks) -> tuple[dict[str, torch.Tensor], list[float]]:
    """(weights, loss of each step): the same training as a loop in this process, with neither Ray nor workers."""
    assert lesson.teacher is not None
    assert config.steps is not None
    plan = Plan(shard_rows=tuple(s.rows for s in blocks.shards), global_batch=12, steps=config.steps, seed=SEED)
    job = Job(lesson=lesson, config=config, plan=plan, blocks=blocks, folder=blocks.folder, seed=SEED, use_gpu=False)
    rule = rule_of(job)
    share = share_of(blocks, plan, rule, seed=SEED, worker=0, workers=1, first_step=0)
    student = load_model(lesson.start, torch.float32, CPU, dropout=config.dropout).train()
    teacher = load_model(lesson.teacher, torch.float32, CPU).eval()
    optimizer = adamw(student, learning_rate=1.0, weight_decay=config.weight_decay)
    counts = Counts(positions=12 * 16, masked=12 * rule.masked_per_block)
    plain = Arithmetic(device=CPU, dtype=torch.float32, scaler=torch.amp.GradScaler("cpu", enabled=False))
    step, losses = 0, []
    for window in plan.windows(0):
        _, masked = share.read(Piece(window, window.first_step, min(window.first_step + window.steps, plan.steps)))
        for batch in micro_batches(masked, 12, CPU):
            kl, ce, cos = accumulate(Learner(student, lesson.weights), teacher, [batch], counts, plain).tolist()
            losses.append(5 * 4 * kl / counts.positions + 2 * ce / counts.masked + cos / counts.positions)
            factor = learning_rate_factor(step, steps=plan.steps, warmup=config.warmup)
            update(student, optimizer, config.learning_rate * factor, plain)
            step += 1
    assert step == plan.steps
    return {name: p.detach() for name, p in student.named_parameters()}, losses


def test_train_two_workers_learn_what_a_plain_loop_learns(
    ray_session: None, blocks: Blocks, lesson: Lesson, tmp_path: Path
) -> None:
    """A global batch of 12 in 4 streams, micro-batches of 4: 6 rows a worker, 4 + 2. No dropout: it is per worker."""
    config = replace(CONFIG, steps=6, workers=2, dropout=0.0, log_every=1, learning_rate=1e-3)
    expected, losses = plain_training(config, lesson, blocks)
    run = Run(tmp_path)
    train(config, lesson, blocks, run.where())
    assert [metrics["loss"] for _, metrics in run.metrics] == pytest.approx(losses, rel=1e-4)
    found = run.tensors(6)
    moved = load_file(lesson.start.path / "model.safetensors")
    for name, weights in expected.items():
        if not name.endswith("k_lin.bias"):  # its gradient is 0 but for rounding, which AdamW makes a step of
            change = (weights - moved[name]).norm()
            assert (found[name] - weights).norm() < 1e-2 * change, name


def test_finished_without_or_before_the_last_checkpoint_is_an_error(tmp_path: Path, whole: Run) -> None:
    with pytest.raises(RuntimeError, match="without a checkpoint"):
        finished(Folder(str(tmp_path)), 12, 0)
    with pytest.raises(RuntimeError, match="step 12 of 13"):
        finished(Folder(str(whole.folder)), 13, 0)


def test_train_corpus_smaller_than_a_batch_and_too_many_workers_are_refused_at_once(
    ray_session: None, blocks: Blocks, lesson: Lesson, tmp_path: Path
) -> None:
    where = Run(tmp_path).where()
    with pytest.raises(InputError, match=r"72 blocks but distil\.global_batch is 73"):
        train(replace(CONFIG, global_batch=73), lesson, blocks, where)
    with pytest.raises(InputError, match="5 workers cannot share"):
        train(replace(CONFIG, workers=5), lesson, blocks, where)
    with pytest.raises(InputError, match=r"asks for 1 GPU\(s\) and this cluster has 0"):
        train(replace(CONFIG, gpu=True), lesson, blocks, where)
    with pytest.raises(ConfigError, match=r"distil\.mask_rate is 0\.03 but masks none .* 16 tokens"):
        train(replace(CONFIG, mask_rate=0.03), lesson, blocks, where)
    assert list(tmp_path.iterdir()) == []


def test_gpu_wanted_is_what_there_is_unless_told(ray_session: None) -> None:
    assert gpu_wanted(CONFIG) is False
    assert gpu_wanted(replace(CONFIG, gpu=False)) is False


@pytest.mark.parametrize(("workers", "cpus"), [(1, 1.0), (2, 1.0), (4, 0.5), (400, 0.01)])
def test_worker_cpus_leave_half_the_cluster_to_the_data(ray_session: None, workers: int, cpus: float) -> None:
    assert worker_cpus(workers) == cpus


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("epochs", 0.0), ("global_batch", 0), ("micro_batch", -1), ("learning_rate", 0.0), ("workers", 0),
     ("checkpoint_every", 0), ("evaluate_every", 0), ("log_every", 0), ("keep_checkpoints", 0), ("warmup", 1.0),
     ("warmup", -0.1), ("dropout", 1.0), ("mask_rate", 0.0), ("mask_rate", 0.51)],
)  # fmt: skip
def test_train_config_value_out_of_range_is_refused_by_field_and_value(name: str, value: float) -> None:
    with pytest.raises(ConfigError) as refused:
        TrainConfig(**{name: value})
    assert (refused.value.field, refused.value.value) == (f"distil.{name}", value)


@pytest.mark.parametrize(("changes", "steps"), [({"epochs": 3.0}, 18), ({"epochs": 0.5}, 3), ({"epochs": 0.01}, 1)])
def test_total_steps_are_whole_batches_of_the_epochs_asked_for(changes: dict[str, float], steps: int) -> None:
    assert TrainConfig(global_batch=12, **changes).total_steps(77) == steps
    assert TrainConfig(global_batch=12, steps=5, **changes).total_steps(77) == 5
