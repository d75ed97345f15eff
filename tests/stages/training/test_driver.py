"""Training end to end: it learns, reports, and continues bit for bit; in this process, without Ray Train's own."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import CONFIG, STEPS, Run, assert_bit_identical, here
from transformers import AutoModelForMaskedLM

from stages.distillation.schedule import learning_rate_factor
from stages.errors import ConfigError, InputError
from stages.evaluation.heldout import heldout, score_all
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint
from stages.training.config import TrainConfig
from stages.training.driver import Trained, finished, gpu_wanted, train, worker_cpus
from stages.training.job import TrainingTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole(ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One training from its first step to its last."""
    run = Run(tmp_path_factory.mktemp("whole"))
    run.trained = train(CONFIG, task, blocks, run.context(), fit=here)
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
    whole: Run, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    """Step 4 is whole, step 8 was being written: training goes on from 4, dropout, order, masks and moments alike."""
    run = Run(tmp_path)
    for step in (4, 8):
        name = f"step-{step:08d}"
        shutil.copytree(whole.folder / "checkpoints" / name, tmp_path / "checkpoints" / name)
    (tmp_path / "checkpoints" / "step-00000008" / checkpoint.MANIFEST).unlink()
    trained = train(replace(CONFIG, keep_checkpoints=1), task, blocks, run.context(), fit=here)
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


def test_finished_without_or_before_the_last_checkpoint_is_an_error(tmp_path: Path, whole: Run) -> None:
    with pytest.raises(RuntimeError, match="without a checkpoint"):
        finished(Folder(str(tmp_path)), 12, 0)
    with pytest.raises(RuntimeError, match="step 12 of 13"):
        finished(Folder(str(whole.folder)), 13, 0)


def test_train_corpus_smaller_than_a_batch_and_too_many_workers_are_refused_at_once(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    context = Run(tmp_path).context()
    with pytest.raises(InputError, match=r"72 blocks but distil\.global_batch is 73"):
        train(replace(CONFIG, global_batch=73), task, blocks, context)
    with pytest.raises(InputError, match="5 workers cannot share"):
        train(replace(CONFIG, workers=5), task, blocks, context)
    with pytest.raises(InputError, match=r"asks for 1 GPU\(s\) and this cluster has 0"):
        train(replace(CONFIG, gpu=True), task, blocks, context)
    with pytest.raises(ConfigError, match=r"distil\.mask_rate is 0\.03 but masks none .* 16 tokens"):
        train(replace(CONFIG, mask_rate=0.03), task, blocks, context)
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
