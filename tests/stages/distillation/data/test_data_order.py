"""The order contract beside a slow loop, and its promises whatever the number of workers."""

import itertools

import numpy as np
import pytest

from stages.distillation.data.data_order import Plan
from stages.errors import InputError


def plan(**changes: object) -> Plan:
    """Three unequal shards, 123 rows, batches of 12 in gcd(12, 64) = 4 streams, windows of 3 steps, 2½ epochs."""
    settings = {"shard_rows": (50, 41, 32), "global_batch": 12, "steps": 25, "seed": 5, "window_rows": 36}
    return Plan(**{**settings, **changes})


def batches(plan: Plan, worker: int = 0, workers: int = 1, first_step: int = 0) -> dict[int, np.ndarray]:
    """step -> the rows that `worker` takes in it, over one pass from `first_step`."""
    streams, found = plan.streams_of(worker, workers), {}
    for window in plan.windows(first_step):
        for step, rows in enumerate(plan.window_batches(window, streams), start=window.first_step):
            if first_step <= step < plan.steps:
                found[step] = rows
    return found


def permuted(items: list[int], *counter: int, seed: int) -> list[int]:
    philox = np.random.Philox(key=np.array([seed, 1], np.uint64), counter=np.array([0, *counter], np.uint64))
    return [items[i] for i in np.random.Generator(philox).permutation(len(items))]


def slow_epoch(plan: Plan, epoch: int) -> list[set[int]]:
    """The global batches of an epoch, by the words of the contract: line, streams, windows, a share of each."""
    b, c, steps = plan.global_batch, plan.streams, plan.rows // plan.global_batch
    ends = list(itertools.accumulate(plan.shard_rows))
    shards = [list(range(end - n, end)) for end, n in zip(ends, plan.shard_rows, strict=True)]
    order = permuted(list(range(len(shards))), 0, 0, epoch, seed=plan.seed)
    line = [row for shard in order for row in shards[shard]]
    found: list[set[int]] = [set() for _ in range(steps)]
    for stream in range(c):
        rows = line[stream * steps * b // c : (stream + 1) * steps * b // c]
        length = max(1, plan.window_rows // b) * b // c
        cut = [rows[i : i + length] for i in range(0, len(rows), length)]
        mixed = [
            r for w, part in enumerate(cut) for r in permuted(part, stream << 32 | w, 0 + 1, epoch, seed=plan.seed)
        ]
        for step in range(steps):
            found[step] |= set(mixed[step * b // c : (step + 1) * b // c])
    return found


@pytest.mark.parametrize("changes", [{}, {"window_rows": 1}, {"window_rows": 10**6}, {"global_batch": 7, "steps": 40}])
def test_plan_global_batches_are_those_of_a_slow_loop(changes: dict[str, object]) -> None:
    made = plan(**changes)
    found = batches(made)
    slow = [slow_epoch(made, epoch) for epoch in range(-(-made.steps // made.steps_per_epoch))]
    expected = [batch for epoch in slow for batch in epoch][: made.steps]
    assert [set(found[step].tolist()) for step in range(made.steps)] == expected


def test_plan_batches_of_an_epoch_are_disjoint_and_within_range() -> None:
    made, found = plan(), batches(plan())
    assert sorted(found) == list(range(25))
    for epoch in (0, 1):
        rows = np.concatenate([found[step] for step in range(epoch * 10, epoch * 10 + 10)])
        assert len(np.unique(rows)) == len(rows) == made.steps_per_epoch * made.global_batch
        assert rows.min() >= 0
        assert rows.max() < made.rows


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 7, 48, 64])
def test_plan_any_number_of_workers_share_the_same_global_batches(workers: int) -> None:
    made = plan(shard_rows=(700, 300, 411), global_batch=192, steps=17, window_rows=400)
    shares = [batches(made, worker, workers) for worker in range(workers)]
    sizes = [len(share[0]) for share in shares]
    assert sum(sizes) == made.global_batch
    assert max(sizes) - min(sizes) <= made.rows_per_stream
    whole = batches(made)
    for step in range(made.steps):
        together = np.concatenate([share[step] for share in shares])
        np.testing.assert_array_equal(together, whole[step])


def test_plan_workers_that_do_not_divide_the_streams_have_unequal_shares() -> None:
    sizes = [len(batches(plan(), worker, 3)[0]) for worker in range(3)]
    assert sorted(sizes) == [3, 3, 6]


def test_plan_pass_from_any_step_goes_on_exactly_as_the_full_one() -> None:
    made = plan()
    whole = batches(made, 1, 3)
    for first_step in range(made.steps):
        rest = batches(made, 1, 3, first_step)
        assert sorted(rest) == list(range(first_step, made.steps))
        assert all(np.array_equal(rest[step], whole[step]) for step in rest)


def test_plan_pass_from_its_end_is_empty() -> None:
    assert plan().windows(25) == []


def test_plan_windows_never_cross_an_epoch_and_cover_every_step_once() -> None:
    made = plan()
    steps = [(w.epoch, s) for w in made.windows(0) for s in range(w.first_step, w.first_step + w.steps)]
    assert [s for _, s in steps] == list(range(26))  # the last window is whole: its readers cut it at the run's end
    assert all(epoch == s // made.steps_per_epoch for epoch, s in steps)


def test_plan_remainder_sits_out_an_epoch_and_not_always_the_same() -> None:
    """123 rows make 10 batches of 12: 3 are left over; over many epochs every shard's turn comes."""
    made = plan(steps=10 * 40)
    found, missed = batches(made), set()
    for epoch in range(40):
        seen = {int(row) for step in range(epoch * 10, epoch * 10 + 10) for row in found[step]}
        left = set(range(123)) - seen
        assert len(left) == 3
        missed |= left
    assert len(missed) == 9  # the last 3 rows of whichever shard is last in line


def test_plan_next_epoch_and_other_seed_give_another_order() -> None:
    found, other = batches(plan()), batches(plan(seed=6))
    first, second = (np.concatenate([found[s] for s in range(e, e + 10)]) for e in (0, 10))
    assert (first == second).mean() < 0.1
    assert (first == np.concatenate([other[s] for s in range(10)])).mean() < 0.1


def test_plan_window_shuffles_within_itself_only() -> None:
    """Windows as long as the epoch mix a whole stream; windows of one step keep neighbours together."""
    near, far = (batches(plan(shard_rows=(1200,), steps=5, window_rows=w)) for w in (12, 1200))
    assert max(np.ptp(rows[:3]) for rows in near.values()) == 2
    assert min(np.ptp(rows[:3]) for rows in far.values()) > 2


def test_plan_fewer_rows_than_a_batch_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"123 blocks.*global_batch is 124"):
        plan(global_batch=124)
    assert plan(global_batch=123).steps_per_epoch == 1


def test_plan_more_workers_than_streams_is_refused_with_the_limit() -> None:
    with pytest.raises(InputError, match="at most 4 workers"):
        plan().streams_of(0, 5)
