"""Reading rows beside pyarrow; what a worker is streamed beside the plan, from any step."""

import numpy as np
import pytest
from tiny import LENGTH, all_rows, tiny_rule

from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import mask
from stages.distillation.data.rows import Rows
from stages.tokens.blocks import Blocks
from stages.training.loader import Share, read_rows, share_of, stream


def plan_of(blocks: Blocks) -> Plan:
    """72 rows in batches of 6: 12 steps an epoch, in windows of 5, 5 and 2; 29 steps end within a window."""
    rows = tuple(shard.rows for shard in blocks.shards)
    return Plan(shard_rows=rows, global_batch=6, steps=29, seed=3, window_rows=30)


def share(blocks: Blocks, worker: int = 0, workers: int = 1, first_step: int = 0) -> Share:
    plan = plan_of(blocks)
    return share_of(blocks, plan, tiny_rule(), seed=11, worker=worker, workers=workers, first_step=first_step)


def test_read_rows_any_order_with_repeats_is_what_pyarrow_reads(blocks: Blocks) -> None:
    whole = all_rows(blocks, blocks.shards)
    assert whole.shape == (72, LENGTH)
    rng = np.random.default_rng(0)
    for rows in (np.arange(72), rng.permutation(72), rng.integers(0, 72, 30), np.array([71]), np.array([22, 23])):
        found = read_rows(blocks.folder, blocks.shards, rows).ids_RL
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, whole[rows])


def test_read_rows_none_asked_for_raises_value_error(blocks: Blocks) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        read_rows(blocks.folder, blocks.shards, np.array([], dtype=np.int64))


def expected_steps(share: Share, blocks: Blocks) -> dict[int, list[np.ndarray]]:
    """step -> (input ids, positions, labels), each step masked by itself from rows read the plain way."""
    whole, found = all_rows(blocks, blocks.shards), {}
    for window in share.plan.windows(0):
        for step, rows in enumerate(share.plan.window_batches(window, share.streams), start=window.first_step):
            masked = mask(Rows(whole[rows]), rows, epoch=window.epoch, seed=share.seed, rule=share.rule)
            found[step] = [masked.input_ids_RL, masked.positions_RM, masked.labels_RM]
    return found


@pytest.mark.parametrize("first_step", [0, 3, 5, 11, 12, 28])
def test_share_windows_from_any_step_are_the_plans_rows_masked(blocks: Blocks, first_step: int) -> None:
    mine = share(blocks, worker=1, workers=2, first_step=first_step)
    steps, expected = list(range(first_step, 29)), expected_steps(mine, blocks)
    found = [mine.read(piece)[1] for piece in mine.pieces()]
    for i, name in enumerate(("input_ids_RL", "positions_RM", "labels_RM")):
        joined = np.concatenate([getattr(masked, name) for masked in found])
        np.testing.assert_array_equal(joined, np.concatenate([expected[step][i] for step in steps]))


def test_stream_under_ray_from_a_middle_step_is_the_plan_step_by_step(ray_session: None, blocks: Blocks) -> None:
    mine = share(blocks, worker=0, workers=2, first_step=8)
    expected, found = expected_steps(mine, blocks), list(stream(mine))
    assert len(found) == 29 - 8
    for step, (rows, masked) in enumerate(found, start=8):
        window = next(w for w in mine.plan.windows(step) if w.first_step <= step)
        planned = mine.plan.window_batches(window, mine.streams)[step - window.first_step]
        np.testing.assert_array_equal(rows, planned)
        np.testing.assert_array_equal(masked.input_ids_RL, expected[step][0])
        np.testing.assert_array_equal(masked.positions_RM, expected[step][1])
        np.testing.assert_array_equal(masked.labels_RM, expected[step][2])


def test_stream_from_the_runs_end_is_empty_and_needs_no_ray(blocks: Blocks) -> None:
    assert list(stream(share(blocks, first_step=29))) == []
