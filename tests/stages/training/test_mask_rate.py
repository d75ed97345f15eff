"""A mask rate that changes by epoch: what is streamed, learned, reported, continued and refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import all_rows, tiny_rule
from trainings import CONFIG, Run, assert_bit_identical, here

from pipeline.config.schema import flat, from_yaml, override, to_yaml
from pipeline.recipes import demo
from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import MaskRule, mask
from stages.distillation.data.rows import Rows
from stages.errors import ConfigError
from stages.tokens.blocks import Blocks
from stages.training.config import TrainConfig
from stages.training.driver import train
from stages.training.job import TrainingTask
from stages.training.loader import share_of, stream

RULE = replace(tiny_rule(), by_epoch=(7, 4, 2))
FALLING = replace(CONFIG, mask_rate=(0.5, 0.15), checkpoint_every=5, evaluate_every=12, log_every=4)
"""7 of 14 positions in the first six steps, 2 in the next six."""


def plan_of(blocks: Blocks) -> Plan:
    """72 rows in batches of 6: 12 steps an epoch, in windows of 5, 5 and 2; 29 steps are three epochs."""
    rows = tuple(shard.rows for shard in blocks.shards)
    return Plan(shard_rows=rows, global_batch=6, steps=29, seed=3, window_rows=30)


def test_plan_says_of_every_step_in_which_of_how_many_epochs_it_is(blocks: Blocks) -> None:
    plan = plan_of(blocks)
    assert plan.epochs == 3
    assert [plan.epoch_of(step) for step in (0, 11, 12, 23, 24, 28)] == [0, 0, 1, 1, 2, 2]
    assert [w.epoch for w in plan.windows(0)] == [plan.epoch_of(w.first_step) for w in plan.windows(0)]
    assert replace(plan, steps=24).epochs == 2


@pytest.mark.parametrize("first_step", [0, 8, 12, 25])
def test_stream_under_ray_masks_each_epoch_by_its_own_rate_whatever_step_it_begins_at(
    ray_session: None, blocks: Blocks, first_step: int
) -> None:
    """A worker's batches have another width from one epoch to the next, and are the plan's rows, masked plainly."""
    plan, whole = plan_of(blocks), all_rows(blocks, blocks.shards)
    share = share_of(blocks, plan, RULE, seed=11, worker=1, workers=2, first_step=first_step)
    found = list(stream(share))
    assert len(found) == 29 - first_step
    for step, (rows, masked) in enumerate(found, start=first_step):
        alone = MaskRule(RULE.weight_V, RULE.normal_ids, RULE.mask_id, ((7, 4, 2)[step // 12],))
        expected = mask(Rows(whole[rows]), rows, epoch=step // 12, seed=11, rule=alone)
        np.testing.assert_array_equal(masked.input_ids_RL, expected.input_ids_RL)
        np.testing.assert_array_equal(masked.positions_RM, expected.positions_RM)


@pytest.fixture(scope="module")
def whole(ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training whose reports have steps of both epochs in them."""
    run = Run(tmp_path_factory.mktemp("whole"))
    run.trained = train(FALLING, task, blocks, run.context(), fit=here)
    return run


def test_train_reports_means_over_masked_positions_of_each_steps_own_epoch(
    whole: Run, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    """Beside the same training told step by step; the untouched student's loss is as high in both epochs."""
    steps = Run(tmp_path)
    train(replace(FALLING, log_every=1), task, blocks, steps.context(), fit=here)
    assert_bit_identical(steps, whole, 12)
    single = dict(steps.metrics)
    assert sorted(single) == list(range(1, 13))
    assert [single[step]["mask_rate"] for step in (1, 6, 7, 12)] == [0.5, 0.5, 0.15, 0.15]
    before = 0
    for step, metrics in whole.metrics:
        for name in ("loss", "loss_ce", "loss_mlm", "loss_cos"):
            mean = np.mean([single[s][name] for s in range(before + 1, step + 1)])
            assert metrics[name] == pytest.approx(mean, rel=1e-9)
        before = step
    assert [step for step, _ in whole.metrics] == [4, 5, 8, 10, 12]
    assert 0.6 < single[7]["loss_mlm"] / single[6]["loss_mlm"] < 1.5  # by the other epoch's count it is 3.5 times off


def test_train_stopped_in_the_first_epoch_ends_in_the_second_bit_for_bit(
    whole: Run, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    run, name = Run(tmp_path), "step-00000005"
    shutil.copytree(whole.folder / "checkpoints" / name, tmp_path / "checkpoints" / name)
    train(FALLING, task, blocks, run.context(), fit=here)
    assert_bit_identical(run, whole, 12)


def test_mask_rate_is_one_number_or_two_on_a_command_line_and_in_yaml() -> None:
    for text, rate in (("0.3", 0.3), ("0.3,0.15", (0.3, 0.15)), ("[0.3, 0.15]", (0.3, 0.15))):
        config = override(demo(), [("distil.mask_rate", text)])
        assert config.distil.mask_rate == rate
        assert from_yaml(to_yaml(config), "it") == config
    assert flat(config)["distil.mask_rate"] == "0.3,0.15"


@pytest.mark.parametrize("text", ["0.3..0.15", "0.3,0.2,0.1", "much", "0.3,", "0,0.2", "0.2,0", "0.2,0.51", "nan,0.2"])
def test_mask_rate_that_is_none_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(ConfigError, match=r"distil\.mask_rate is"):
        override(demo(), [("distil.mask_rate", text)])


def test_mask_rate_that_masks_nothing_in_its_last_epoch_is_refused_and_one_epoch_is_said(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    context = Run(tmp_path).context()
    with pytest.raises(ConfigError, match=r"distil\.mask_rate is \(0\.3, 0\.03\) but masks none .* 16 tokens"):
        train(replace(CONFIG, mask_rate=(0.3, 0.03)), task, blocks, context)
    run = Run(tmp_path / "one")
    train(replace(CONFIG, steps=2, mask_rate=(0.3, 0.15)), task, blocks, run.context(), fit=here)
    assert "there is one epoch: all of it has the first distil.mask_rate, 0.3." in run.notices
    assert isinstance(TrainConfig(mask_rate=(0.3, 0.15)).mask_rate, tuple)
