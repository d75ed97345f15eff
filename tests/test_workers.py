"""One, two and four workers: the same gradients of a global batch, the same losses; and four killed go on as before."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_train_faults import kill_a_worker_at
from trainings import CONFIG, Run, assert_bit_identical

from stages.blocks import Blocks
from stages.job import Lesson
from stages.train import train
from stages.train_config import TrainConfig

pytestmark = pytest.mark.timeout(900)
CURVE = replace(CONFIG, steps=30, dropout=0.0, log_every=1, learning_rate=1e-3, checkpoint_every=30, evaluate_every=30)


def losses(config: TrainConfig, lesson: Lesson, blocks: Blocks, folder: Path) -> dict[str, list[float]]:
    """The curve of the loss and of each term, step by step."""
    run = Run(folder)
    train(config, lesson, blocks, run.where())
    names = ("loss", "loss_ce", "loss_mlm", "loss_cos", "grad_norm")
    return {name: [metrics[name] for _, metrics in run.metrics] for name in names}


@pytest.mark.parametrize(
    ("precision", "workers", "tolerance"),
    [
        ("fp64", 2, 1e-8),
        pytest.param("fp32", 2, 1e-4, marks=pytest.mark.slow),
        pytest.param("fp64", 4, 1e-8, marks=pytest.mark.slow),
        pytest.param("fp32", 4, 1e-4, marks=pytest.mark.slow),
    ],
)
def test_train_losses_of_thirty_steps_are_those_of_one_worker(
    ray_session: None,
    blocks: Blocks,
    lesson: Lesson,
    tmp_path: Path,
    precision: str,
    workers: int,
    tolerance: float,
) -> None:
    config = replace(CURVE, precision=precision)
    alone = losses(config, lesson, blocks, tmp_path / "alone")
    together = losses(replace(config, workers=workers), lesson, blocks, tmp_path / "together")
    assert len(alone["loss"]) == 30
    for name, curve in alone.items():
        assert together[name] == pytest.approx(curve, rel=tolerance), name


@pytest.mark.slow
def test_train_one_of_four_workers_killed_ends_bit_for_bit_as_if_it_had_not_been(
    ray_session: None, blocks: Blocks, lesson: Lesson, tmp_path: Path
) -> None:
    """Four sums depend in their last bit on how DDP arranged its buckets: every start has to arrange them alike."""
    config = replace(CONFIG, steps=200, checkpoint_every=25, log_every=5, workers=4, row_log=True, max_failures=2)
    whole, run, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed"), []
    train(config, lesson, blocks, whole.where())
    killer = threading.Thread(target=kill_a_worker_at, args=(tmp_path / "killed", 90, killed))
    killer.start()
    train(config, lesson, blocks, run.where())
    killer.join()
    assert killed
    assert_bit_identical(run, whole, 200)
    assert all(torch.isfinite(tensor).all() for tensor in run.tensors(200).values())
