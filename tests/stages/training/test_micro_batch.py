"""How many rows of a micro-batch fit: sizes tried, where it stops, and that a training comes out the same."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from tiny import tiny_blocks
from trainings import CONFIG, Run, here, tiny_task

from stages.distillation.hardware import name_of
from stages.errors import ConfigError
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint
from stages.training.config import TrainConfig
from stages.training.driver import train
from stages.training.job import TrainingTask
from stages.training.micro_batch_search import CPU_TOKENS, fitting, is_out_of_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (2, [1, 2]), (20, [1, 2, 4, 8, 16, 20]), (1000, [1, 2, 4, 8, 16, 32])],
)
def test_fitting_sizes_double_up_to_the_share_or_to_what_a_cpu_gains_from(most: int, expected: list[int]) -> None:
    tried: list[int] = []
    assert fitting(tried.append, most=most, block_length=CPU_TOKENS // 32, device=CPU, available=2**40) == expected[-1]
    assert tried == expected


def test_fitting_stops_before_the_size_that_would_take_more_than_its_part_of_the_memory() -> None:
    """34 MB a row, kept as glibc keeps it, and about 200 MB to take: 4 rows fit, and 8 are not even tried."""
    free = psutil.virtual_memory().available
    part, held, tried = 400e6 / free, {}, []

    def trial(rows: int) -> None:
        tried.append(rows)
        held[0] = np.ones(rows * 34_000_000, dtype=np.uint8)

    assert fitting(trial, most=64, block_length=16, device=CPU, available=free, part=part) == 4
    assert tried == [1, 2, 4]


def test_fitting_where_nothing_fits_is_one_row() -> None:
    assert fitting(lambda rows: None, most=8, block_length=16, device=CPU, available=2**40, reserved=2**50) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_out_of_memory_is_known_by_whoever_had_no_room(error: RuntimeError, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def test_train_config_micro_batch_is_a_number_above_0_or_auto() -> None:
    assert TrainConfig(micro_batch="auto").micro_batch == "auto"
    with pytest.raises(ConfigError, match="micro_batch"):
        TrainConfig(micro_batch=0)


@pytest.mark.slow
@pytest.mark.timeout(400)  # three trainings of several processes
def test_train_with_auto_learns_as_with_a_size_and_a_later_start_takes_what_was_found(
    ray_session: None, tmp_path: Path
) -> None:
    """12 blocks of 16 tokens fit anywhere, so all are taken. Without dropout, whose masks depend on sizes."""
    blocks, task = tiny_blocks(tmp_path / "blocks"), tiny_task(tmp_path)
    given = replace(CONFIG, steps=4, dropout=0.0, evaluate_every=4, precision="fp64")
    runs = [Run(tmp_path / name) for name in ("given", "auto")]
    for run, config in zip(runs, (given, replace(given, micro_batch="auto")), strict=True):
        run.trained = train(config, task, blocks, run.context())
    states = [checkpoint.read_state(run.trained.checkpoint) for run in runs if run.trained is not None]
    assert [state.micro_batch for state in states] == [4, 12]
    assert [state.threads for state in states] == [1, 1]
    for file in ("model", "optimizer"):
        for name, expected in runs[0].tensors(4, file).items():
            torch.testing.assert_close(runs[1].tensors(4, file)[name], expected, rtol=1e-6, atol=1e-9)
    later = train(replace(given, micro_batch="auto"), task, blocks, runs[0].context(), steps=6)
    assert checkpoint.read_state(later.checkpoint).micro_batch == 4


def stored(folder: Path, step: int, **changes: object) -> None:
    """Write other fields into the state of a checkpoint, and its manifest anew."""
    place = folder / "checkpoints" / f"step-{step:08d}"
    (place / "state.json").write_text(json.dumps({**json.loads((place / "state.json").read_text()), **changes}))
    data, manifest = (place / "state.json").read_bytes(), json.loads((place / "manifest.json").read_text())
    manifest["files"]["state.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (place / "manifest.json").write_text(json.dumps(manifest))


def test_train_goes_on_with_the_micro_batch_that_was_found_on_such_a_card_and_no_other(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    """12 rows fit here; 2 were found there. A checkpoint that does not say where is taken at its word."""
    run = Run(tmp_path)
    auto = replace(CONFIG, micro_batch="auto", checkpoint_every=1, evaluate_every=8)
    train(auto, task, blocks, run.context(), steps=1, fit=here)
    first = checkpoint.read_state(Folder(str(tmp_path / "checkpoints/step-00000001")))
    assert (first.micro_batch, first.devices) == (12, name_of(CPU))
    others = [("NVIDIA A10G", 12), (first.devices, 2), ("", 2), (f"NVIDIA A10G; {first.devices}", 12)]
    for step, (devices, expected) in enumerate(others, start=1):
        stored(tmp_path, step, micro_batch=2, devices=devices)
        trained = train(auto, task, blocks, run.context(), steps=step + 1, fit=here)
        state = checkpoint.read_state(trained.checkpoint)
        assert (state.micro_batch, state.devices) == (expected, first.devices)
