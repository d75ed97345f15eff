"""What a training survives, bit for bit, and what it refuses in a sentence: killed workers, a stop, disks, damage."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tiny import tiny_blocks
from trainings import CONFIG, SEED, STEPS, Run, assert_bit_identical, damage, here, kill_a_worker_at

from stages.distillation.data.data_order import Plan
from stages.errors import InputError, Preempted
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint
from stages.training.config import TrainConfig
from stages.training.driver import fit, train
from stages.training.job import TrainingTask

pytestmark = pytest.mark.timeout(400)
LONG = replace(CONFIG, steps=300, checkpoint_every=30, evaluate_every=100, log_every=5, workers=2, row_log=True)
"""Some seconds of training: long enough to be hit in the middle."""


@pytest.fixture(scope="module")
def undisturbed(ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two workers, from the first step to the last."""
    run = Run(tmp_path_factory.mktemp("undisturbed"))
    run.trained = train(LONG, task, blocks, run.context())
    return run


def rows_by_step(folder: Path) -> dict[int, list[int]]:
    """step -> rows learned from, sorted; of a step that was done again, the last time counts."""
    found: dict[tuple[int, str], list[int]] = {}
    for file in sorted((folder / "rows").iterdir()):  # by the time of their start
        for line in file.read_text().splitlines():
            step, *rows = map(int, line.split(","))
            found[step, file.stem.split("-")[-1]] = rows
    steps: dict[int, list[int]] = {}
    for (step, _), rows in found.items():
        steps[step] = sorted([*steps.get(step, []), *rows])
    return steps


def assert_rows_are_the_plan_s(folder: Path, config: TrainConfig, blocks: Blocks) -> None:
    """No row twice, none left out, in each global batch."""
    plan = Plan(
        shard_rows=tuple(shard.rows for shard in blocks.shards),
        global_batch=config.global_batch,
        steps=config.steps or 0,
        seed=SEED,
    )
    expected = {}
    for window in plan.windows(0):
        for step, rows in enumerate(plan.window_batches(window, range(plan.streams)), start=window.first_step):
            if step < plan.steps:
                expected[step] = sorted(rows.tolist())
    assert rows_by_step(folder) == expected


def steps_of_later_starts(folder: Path) -> set[int]:
    """Steps that rank 0 has learned from since it was started anew."""
    later = sorted((folder / "rows").glob("*-rank-0.csv"))[1:]
    return {int(line.split(",")[0]) for file in later for line in file.read_text().splitlines()}


@dataclass(frozen=True)
class Disturbed:
    """A training of which a worker was killed, which was then asked to stop, and which went on to its end."""

    folder: Path
    killed: list[int]
    restarted: int
    """The step that its second start began with."""
    stopped: int
    """The step that it says it stopped at."""
    checkpoint: int
    """The step of the newest checkpoint there was then."""
    first: Run
    again: Run


@pytest.fixture(scope="module")
def disturbed(
    undisturbed: Run, blocks: Blocks, task: TrainingTask, tmp_path_factory: pytest.TempPathFactory
) -> Disturbed:
    """Killed at step 60 or soon after, and asked to stop once its second start is past what the first one reported."""
    folder, killed = tmp_path_factory.mktemp("disturbed"), []
    first, again = Run(folder), Run(folder)
    first.should_stop = lambda: max(steps_of_later_starts(folder), default=0) >= 100
    killer = threading.Thread(target=kill_a_worker_at, args=(folder, 60, killed))
    killer.start()
    with pytest.raises(Preempted) as stopped:
        train(replace(LONG, max_failures=2), task, blocks, first.context())
    killer.join()
    last = checkpoint.newest(Folder(str(folder / "checkpoints")))
    assert last is not None
    step, restarted = checkpoint.read_state(last).step, min(steps_of_later_starts(folder))
    assert len(list((folder / "rows").iterdir())) == 4  # two starts of two workers
    train(LONG, task, blocks, again.context())
    return Disturbed(folder, killed, restarted, stopped.value.step, step, first, again)


def test_train_a_worker_killed_and_asked_to_stop_ends_bit_for_bit_as_if_it_had_not_been(
    undisturbed: Run, disturbed: Disturbed, blocks: Blocks
) -> None:
    assert disturbed.killed
    assert_bit_identical(disturbed.again, undisturbed, 300)
    assert_rows_are_the_plan_s(disturbed.folder, LONG, blocks)
    assert not (undisturbed.folder / "ray").exists()


def test_train_asked_to_stop_leaves_the_checkpoint_it_speaks_of(disturbed: Disturbed) -> None:
    assert disturbed.restarted < 100 <= disturbed.stopped < 300
    assert disturbed.checkpoint == disturbed.stopped


def test_train_a_worker_killed_and_asked_to_stop_reports_each_step_once_and_what_it_would_have_reported(
    undisturbed: Run, disturbed: Disturbed
) -> None:
    """But for the report at the stop, where it is one more, and the means of what is left of its five steps."""
    stop = disturbed.stopped
    assert [step for step, _ in disturbed.first.metrics] == sorted({*range(5, stop + 1, 5), stop})
    assert [step for step, _ in disturbed.again.metrics] == sorted({*range(5, 301, 5), stop})
    expected = dict(undisturbed.metrics)
    whole = [name for name in expected[5] if name != "tokens_per_second"]
    single = [name for name in whole if not name.startswith("loss")]
    for step, found in [*disturbed.first.metrics, *disturbed.again.metrics]:
        if step in expected:
            after_the_stop = stop % 5 and step == stop - stop % 5 + 5
            for name in single if after_the_stop else whole:
                assert found[name] == expected[step][name], (step, name)


@pytest.mark.slow
def test_train_asked_to_stop_before_its_first_step_stops_there(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    run = Run(tmp_path, should_stop=lambda: True)
    with pytest.raises(Preempted) as stopped:
        train(replace(CONFIG, steps=100_000), task, blocks, run.context())
    assert stopped.value.step < 2_000


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_train_gradients_that_stay_no_numbers_end_it_with_a_reason_and_the_weights_as_they_were(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path, workers: int
) -> None:
    """After the first step the weights are so large that nothing after it is a number."""
    run = Run(tmp_path)
    config = replace(CONFIG, learning_rate=1e30, steps=99, log_every=4, evaluate_every=99, max_skipped=6)
    with pytest.raises(FloatingPointError, match=r"7 optimiser steps in a row, around step 8,.*lower the learning"):
        train(replace(config, workers=workers), task, blocks, run.context(), fit=here if workers == 1 else fit)
    assert [step for step, _ in run.metrics] == [4]
    assert run.metrics[0][1]["skipped_steps"] == 3
    before = checkpoint.newest(Folder(str(tmp_path / "checkpoints")))
    assert before is not None
    assert checkpoint.read_state(before).skipped_steps == 3
    assert all(tensor.isfinite().all() for tensor in run.tensors(4).values())


def test_train_a_checkpoint_that_cannot_be_written_is_counted_and_the_last_one_asks_for_room(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    """Files lie where the folders of steps 4 and 12 would be made."""
    run = Run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for step in (4, 12):
        (tmp_path / "checkpoints" / f"step-{step:08d}").write_text("in the way")
    with pytest.raises(InputError, match=r"of step 12 could not be written.*the one of step 8 is whole\. Make room"):
        train(CONFIG, task, blocks, run.context(), fit=here)
    assert [text.split(":")[:2] for text in run.notices[:2]] == [
        ["passed over a checkpoint", " step-00000012"],
        ["passed over a checkpoint", " step-00000004"],
    ]
    assert run.notices[2].startswith("the checkpoint of step 4 could not be written to ")
    assert run.notices[2].endswith("there is none before it, training goes on.")
    assert [step for step, _ in run.checkpoints] == [8]
    (tmp_path / "checkpoints" / "step-00000012").unlink()
    again = Run(tmp_path)
    trained = train(CONFIG, task, blocks, again.context(), fit=here)
    assert trained.steps == STEPS
    assert trained.history[-1]["failed_checkpoints"] == 1


def test_train_damaged_shard_is_refused_by_name_or_left_out_and_said(
    ray_session: None, task: TrainingTask, tmp_path: Path
) -> None:
    blocks, run = tiny_blocks(tmp_path / "blocks"), Run(tmp_path / "run")
    damage(tmp_path / "blocks" / "train" / "part-00001.parquet")
    with pytest.raises(InputError, match=r"part-00001\.parquet cannot be read .*on_damaged to skip"):
        train(CONFIG, task, blocks, run.context())
    assert run.metrics == []
    train(replace(CONFIG, on_damaged="skip", row_log=True), task, blocks, run.context(), fit=here)
    assert run.notices == ["1 damaged block shards are left out: train/part-00001.parquet"]
    kept = replace(blocks, shards=(blocks.shards[0], blocks.shards[2]))
    assert_rows_are_the_plan_s(tmp_path / "run", CONFIG, kept)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_train_shard_damaged_after_it_was_checked_ends_training_by_name(
    ray_session: None, task: TrainingTask, tmp_path: Path, workers: int
) -> None:
    """Two: the other one waits for gradients, so the group starts once more, and ends at once. One: in this process."""
    blocks, run = tiny_blocks(tmp_path / "blocks"), Run(tmp_path / "run")
    config = replace(CONFIG, workers=workers, max_failures=2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shards.json").write_text('{"damaged": []}')
    damage(tmp_path / "blocks" / "train" / "part-00001.parquet")
    with pytest.raises(InputError, match=r"part-00001\.parquet cannot be read"):
        train(config, task, blocks, run.context(), fit=here if workers == 1 else fit)
