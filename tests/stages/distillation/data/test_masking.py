"""Every promise of a mask: count, what is never chosen, proportions, smoothing, and what it is a function of."""

import numpy as np
import pytest

from stages.distillation.data.masking import Masked, MaskRule, mask, mask_rule, masked_per_block, uniforms
from stages.distillation.data.rows import Rows

SPECIAL, MASK_ID, VOCAB, LENGTH = (0, 1, 2, 3, 4), 4, 100, 64
M = 9  # floor(0.15 · 62 + 0.5)


def some_blocks(rows: int, length: int = LENGTH, seed: int = 0, special: float = 0.05) -> np.ndarray:
    """[CLS] … [SEP], some [SEP] and [UNK] between."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, VOCAB, (rows, length)).astype(np.int32)
    ids[rng.random(ids.shape) < special] = 3
    ids[:, 0], ids[:, -1] = 2, 3
    return ids


def rule(counts: np.ndarray | None = None, length: int = LENGTH, **changes: float) -> MaskRule:
    counts = np.ones(VOCAB, dtype=np.int64) if counts is None else counts
    return mask_rule(counts, special_ids=SPECIAL, mask_id=MASK_ID, block_length=length, **changes)


def masked(ids: np.ndarray, epoch: int = 0, seed: int = 7, rows: np.ndarray | None = None) -> Masked:
    rows = np.arange(len(ids)) if rows is None else rows
    return mask(Rows(ids), rows, epoch=epoch, seed=seed, rule=rule())


def overlap(a: Masked, b: Masked) -> float:
    """Share of a row's positions that the other mask has too."""
    return float(np.mean([np.isin(p, q).mean() for p, q in zip(a.positions_RM, b.positions_RM, strict=True)]))


def test_masked_per_block_is_the_rate_of_the_inner_positions_rounded_half_up() -> None:
    assert [masked_per_block(n, 0.15) for n in (512, 128, 64, 12)] == [77, 19, 9, 2]  # 76.5 + .5, 18.9, 9.3, 1.5


def test_mask_every_row_has_exactly_m_distinct_sorted_positions() -> None:
    found = masked(some_blocks(300))
    assert found.positions_RM.shape == found.labels_RM.shape == (300, M)
    assert (np.diff(found.positions_RM, axis=1) > 0).all()


def test_mask_labels_are_what_stood_there_and_nothing_else_changes() -> None:
    ids = some_blocks(300)
    before = ids.copy()
    found = masked(ids)
    np.testing.assert_array_equal(ids, before)
    np.testing.assert_array_equal(found.labels_RM, np.take_along_axis(ids, found.positions_RM, axis=1))
    chosen = np.zeros(ids.shape, dtype=bool)
    np.put_along_axis(chosen, found.positions_RM, True, axis=1)
    np.testing.assert_array_equal(found.input_ids_RL[~chosen], ids[~chosen])


def test_mask_special_tokens_are_never_chosen() -> None:
    found = masked(some_blocks(500, special=0.5))
    assert not np.isin(found.labels_RM, SPECIAL).any()


def test_mask_only_just_enough_maskable_positions_takes_them_all() -> None:
    ids = np.full((1, LENGTH), 3, dtype=np.int32)
    ids[0, 10 : 10 + M] = 50
    assert masked(ids).positions_RM[0].tolist() == list(range(10, 10 + M))


def test_mask_too_few_maskable_positions_raises_value_error() -> None:
    ids = some_blocks(3)
    ids[1] = 3
    ids[1, 10 : 10 + M - 1] = 50
    with pytest.raises(ValueError, match="fewer than 9 maskable"):
        masked(ids)


def test_mask_shows_mask_kept_and_random_as_80_10_10() -> None:
    """Bounds of four standard deviations; a random id is the label itself once in 95."""
    found = masked(some_blocks(4000))
    shown = np.take_along_axis(found.input_ids_RL, found.positions_RM, axis=1)
    n = shown.size
    for share, expected in (
        ((shown == MASK_ID).mean(), 0.8),
        ((shown == found.labels_RM).mean(), 0.1 + 0.1 / 95),
        (((shown != MASK_ID) & (shown != found.labels_RM)).mean(), 0.1 - 0.1 / 95),
    ):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_mask_random_ids_are_never_special_and_evenly_spread_over_the_rest() -> None:
    found = masked(some_blocks(4000))
    shown = np.take_along_axis(found.input_ids_RL, found.positions_RM, axis=1)
    random = shown[(shown != MASK_ID) & (shown != found.labels_RM)]
    assert not np.isin(random, SPECIAL).any()
    counts = np.bincount(random, minlength=VOCAB)[5:]
    chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert chi2 < 94 + 4 * np.sqrt(2 * 94)  # 94 degrees of freedom


def test_mask_fate_does_not_depend_on_the_place_of_a_position_in_its_row() -> None:
    found = masked(some_blocks(4000))
    shown = np.take_along_axis(found.input_ids_RL, found.positions_RM, axis=1)
    by_place = (shown == MASK_ID).mean(axis=0)
    assert np.abs(by_place - 0.8).max() < 4 * np.sqrt(0.16 / 4000)


def test_mask_inclusion_frequencies_are_those_of_sequential_sampling_by_smoothed_counts() -> None:
    """One block of very unequal tokens, masked in 6,000 epochs, beside numpy's own draw without replacement."""
    counts = np.ones(VOCAB, dtype=np.int64)
    counts[5:] = np.geomspace(1, 1e6, VOCAB - 5)
    ids = np.concatenate([[2], np.linspace(5, VOCAB - 1, 22).astype(np.int32), [3]]).astype(np.int32)[None]
    made, trials = rule(counts, length=24, rate=0.2), 6000
    hits, reference = np.zeros(24), np.zeros(24)
    for epoch in range(trials):
        hits[mask(Rows(ids), np.array([3]), epoch=epoch, seed=1, rule=made).positions_RM[0]] += 1
    weight = np.where(np.isin(ids[0], SPECIAL), 0, counts[ids[0]] ** -0.7)
    rng = np.random.default_rng(2)
    for _ in range(trials):
        reference[rng.choice(24, made.masked(0), replace=False, p=weight / weight.sum())] += 1
    spread = np.sqrt(np.maximum(reference, 10)) * np.sqrt(2)
    assert np.abs(hits - reference).max() < 4.5 * spread.max()
    assert (np.abs(hits - reference) < 4.5 * spread).all()
    assert hits[1] > 5 * hits[12]


def test_mask_rule_weight_is_count_to_the_minus_smoothing_and_unseen_counts_as_one() -> None:
    counts = np.full(VOCAB, 10**6)
    counts[[10, 11]] = 0, 1
    made = rule(counts)
    assert made.weight_V[10] == made.weight_V[11] == 1
    assert made.weight_V[12] == pytest.approx(10**-4.2)
    assert (made.weight_V[list(SPECIAL)] == 0).all()
    np.testing.assert_array_equal(made.normal_ids, np.arange(5, VOCAB))
    assert set(rule(counts, smoothing=0.0).weight_V[5:]) == {1.0}


def test_mask_same_seed_epoch_and_row_is_the_same_in_any_batch_and_order() -> None:
    ids = some_blocks(64)
    whole = masked(ids, epoch=3)
    order = np.random.default_rng(1).permutation(64)
    for rows in (order, order[:5], np.array([63]), np.arange(0, 64, 2)):
        part = masked(ids[rows], epoch=3, rows=rows)
        np.testing.assert_array_equal(part.input_ids_RL, whole.input_ids_RL[rows])
        np.testing.assert_array_equal(part.positions_RM, whole.positions_RM[rows])
        np.testing.assert_array_equal(part.labels_RM, whole.labels_RM[rows])


def test_mask_next_epoch_other_seed_and_other_row_move_most_positions() -> None:
    ids = some_blocks(256)
    first = masked(ids)
    for other in (masked(ids, epoch=1), masked(ids, seed=8), masked(ids, rows=np.arange(256) + 256)):
        assert overlap(first, other) < 0.25  # chance is 9 in 59


def test_uniforms_are_one_fresh_philox_stream_for_each_seed_epoch_and_row() -> None:
    found = uniforms(np.array([9, 2, 2**40]), epoch=6, seed=2**32 - 1, draws=11)
    for row, numbers in zip((9, 2, 2**40), found, strict=True):
        counter = np.array([0, 0, 6, row], dtype=np.uint64)
        philox = np.random.Philox(key=np.array([2**32 - 1, 0], dtype=np.uint64), counter=counter)
        np.testing.assert_array_equal(numbers, np.random.Generator(philox).random(11))
