"""Two workers under Ray Train that go on from what rank 0 alone has read end with the bits of two without a stop."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from trainings import CONFIG, STEPS, Run, assert_bit_identical

from stages.tokens.blocks import Blocks
from stages.training.driver import train
from stages.training.job import TrainingTask


@pytest.mark.slow
@pytest.mark.timeout(900)  # two trainings of several processes
def test_two_workers_go_on_from_the_checkpoint_that_rank_0_found_whole_bit_for_bit(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    """Of two checkpoints the newer has no manifest. Dropout is on: each worker has its own."""
    config, whole, resumed = replace(CONFIG, workers=2), Run(tmp_path / "whole"), Run(tmp_path / "resumed")
    train(config, task, blocks, whole.context())
    for step in (4, 8):
        name = f"checkpoints/step-{step:08d}"
        shutil.copytree(whole.folder / name, resumed.folder / name)
    (resumed.folder / "checkpoints/step-00000008/manifest.json").unlink()
    train(config, task, blocks, resumed.context())
    assert_bit_identical(resumed, whole, STEPS)
    assert resumed.notices == [
        "passed over a checkpoint: step-00000008: it has no manifest.json: writing it was cut short; going on from "
        "step 4."
    ]
    losses = [{name: value for name, value in metrics.items() if name.startswith(("loss", "heldout"))}
              for run in (whole, resumed) for _, metrics in run.metrics]  # fmt: skip
    assert losses[: len(losses) // 2] == losses[len(losses) // 2 :]
