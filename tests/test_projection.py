"""The projection to many GPUs against the same arithmetic done by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from projection import Assumptions, project, restart

GIVEN = Assumptions(
    global_batch=64,
    block_length=100,
    micro_batch=8,
    flops_per_token=1e9,
    gpu_flops=10e9,
    utilisation=0.5,
    backward_share=0.5,
    gradient_bytes=100e6,
    bandwidth=50e6,
    checkpoint_bytes=300e6,
    teacher_bytes=200e6,
    checkpoint_every=10,
    storage_bandwidth=30e6,
    fixed_seconds=1.0,
    data_bytes_per_token=2.0,
    masked_tokens_per_core=10.0,
)
"""5 tokens/s a GPU; a checkpoint costs 10 s every 10 steps."""


def test_project_one_gpu_sends_nothing() -> None:
    point = project(GIVEN, 1)
    assert point.step_seconds == pytest.approx(6400 / 5 + 1 + 1)
    assert (point.allreduce_seconds, point.exposed_seconds, point.efficiency) == (0, 0, 1)
    assert point.tokens_per_second == pytest.approx(6400 / 1282)


def test_project_all_reduce_is_hidden_by_the_last_micro_batch_alone() -> None:
    two = project(GIVEN, 2)  # compute 640 s in 4 micro-batches: 160 s, half of them backward; a ring of two: 2 s
    assert two.allreduce_seconds == pytest.approx(2.0)
    assert two.exposed_seconds == 0
    slow = project(replace(GIVEN, bandwidth=1e6), 2)  # 100 s to send, 80 s to hide
    assert slow.exposed_seconds == pytest.approx(100 - 80)
    assert slow.step_seconds == pytest.approx(640 + 20 + 1 + 1)
    assert slow.data_bytes_per_second == pytest.approx(2 * 6400 / 662)
    assert slow.data_cores == pytest.approx(6400 / 662 / 10)


def test_project_more_gpus_than_streams_are_marked_as_refused() -> None:
    assert [project(GIVEN, gpus).allowed for gpus in (64, 65)] == [True, False]


def test_project_never_promises_more_than_the_gpus_have() -> None:
    assert all(project(GIVEN, gpus).efficiency <= 1 for gpus in (1, 2, 4, 8, 16, 32, 64))


def test_restart_moves_the_same_out_of_the_store_for_any_number_of_workers() -> None:
    one, many = restart(GIVEN, 1), restart(GIVEN, 64)
    assert one.store_bytes == many.store_bytes == 500e6
    assert many.checkpoints == pytest.approx(5 / 3)
    assert (one.every_rank_bytes, many.every_rank_bytes) == (900e6, 64 * 900e6)  # 2 · 300, 200 and a student's 100
    assert one.seconds == pytest.approx(500 / 30)
    assert many.seconds == pytest.approx(500 / 30 + 500 / 50)
