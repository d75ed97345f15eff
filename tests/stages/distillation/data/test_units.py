"""Masking by words and by spans beside plain loops over one row, and the promises that hold for both."""

import numpy as np
import pytest

from stages.distillation.data.masking import AT_ONCE, Masked, MaskRule, mask, mask_rule, uniforms
from stages.distillation.data.rows import Rows
from stages.distillation.data.units import LONGEST, P, span_lengths, spans_of, words_of
from stages.distillation.mask_options import MaskUnit, rate_in

SPECIAL, MASK_ID, VOCAB, LENGTH = (0, 1, 2, 3, 4), 4, 400, 96
UNITS: tuple[MaskUnit, ...] = ("word", "span")
COUNTS = np.random.default_rng(5).integers(1, 2000, VOCAB)
M = 14  # floor(0.15 · 94 + 0.5)


def some_rows(rows: int, *, segments: bool = True, seed: int = 0, length: int = LENGTH) -> Rows:
    """Blocks of words of one to four tokens: pieces with start and end tokens and padding behind, or one line in which
    an end token stands here and there; now and then a token that is never masked within a word."""
    rng = np.random.default_rng(seed)
    ids_RL = rng.integers(5, VOCAB, (rows, length)).astype(np.int32)
    words_RL = (rng.random(ids_RL.shape) < 0.6).astype(np.uint8)
    ids_RL[rng.random(ids_RL.shape) < 0.02] = 1
    segments_RL = np.zeros(ids_RL.shape, dtype=np.int16)
    for row in range(rows):
        ends = np.sort(rng.choice(np.arange(8, length - 8, 4), 4, replace=False))
        for number, (begin, end) in enumerate(zip([0, *ends], [*ends, length - 6], strict=True), start=1):
            segments_RL[row, begin:end] = number
            for place, token in ((begin, 2), (end - 1, 3)):
                ids_RL[row, place] = token
                words_RL[row, place : place + 2] = 1
        if segments:
            ids_RL[row, length - 6 :], words_RL[row, length - 6 :] = 0, 1
    return Rows(ids_RL, segments_RL if segments else None, words_RL)


def rule(unit: MaskUnit, smoothing: float = 0.7, length: int = LENGTH, **changes: object) -> MaskRule:
    return mask_rule(
        COUNTS,
        special_ids=SPECIAL,
        mask_id=MASK_ID,
        block_length=length,
        smoothing=smoothing,
        unit=unit,
        **changes,  # type: ignore[arg-type]
    )


def masked(blocks: Rows, unit: MaskUnit, *, epoch: int = 0, seed: int = 7, **changes: object) -> Masked:
    return mask(blocks, np.arange(len(blocks)), epoch=epoch, seed=seed, rule=rule(unit, **changes))  # type: ignore[arg-type]


def plain_words(ids: list[int], pieces: list[int], begins: list[int]) -> list[list[int]]:
    """The positions of each word of a row."""
    found: list[list[int]] = []
    for i in range(len(ids)):
        if i == 0 or begins[i] or pieces[i] != pieces[i - 1]:
            found.append([])
        found[-1].append(i)
    return found


def plain_mask(blocks: Rows, row: int, made: MaskRule, m: int, seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """(positions, what is shown there) of one row, by the words of the contract, from the same random numbers."""
    length = blocks.ids_RL.shape[1]
    ids = blocks.ids_RL[row].tolist()
    pieces = [0] * length if blocks.segments_RL is None else blocks.segments_RL[row].tolist()
    assert blocks.words_RL is not None
    words = plain_words(ids, pieces, blocks.words_RL[row].tolist())
    spanning = made.unit == "span"
    u = uniforms(np.array([row]), epoch, seed, length + (3 if spanning else 2) * m)[0]
    maskable = [[i for i in word if ids[i] not in SPECIAL] for word in words]
    weight = [max((made.weight_V[ids[i]] for i in word), default=0.0) for word in maskable]
    keyed = sorted((-np.log1p(-u[words[w][0]]) / weight[w], w) for w in range(len(words)) if weight[w])
    chosen: list[int] = []
    fate: dict[int, float] = {}
    for k, (_, first) in enumerate(keyed):
        if len(chosen) == m:
            break
        if first in (w for w in range(len(words)) if set(maskable[w]) & set(chosen)):
            continue
        most = 1
        while spanning and u[length + 2 * m + k] * (1 - (1 - P) ** LONGEST) >= 1 - (1 - P) ** most:
            most += 1
        for w in range(first, first + most):
            if w == len(words) or not weight[w] or pieces[words[w][0]] != pieces[words[first][0]]:
                break
            for i in maskable[w]:
                if i not in chosen and len(chosen) < m:
                    chosen.append(i)
                    fate[i] = u[length + k]
    chosen.sort()
    shown = []
    for place, i in enumerate(chosen):
        mine = fate[i] if spanning else u[length + place]
        random = made.normal_ids[int(u[length + m + place] * len(made.normal_ids))]
        shown.append(MASK_ID if mine < 0.8 else ids[i] if mine < 0.9 else int(random))
    return chosen, shown


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_masks_by_words_and_by_spans_are_those_of_a_plain_loop(unit: MaskUnit, segments: bool, rate: float) -> None:
    blocks = some_rows(60, segments=segments)
    made = rule(unit, rate=rate)
    found = mask(blocks, np.arange(60), epoch=2, seed=9, rule=made)
    for row in range(60):
        positions, shown = plain_mask(blocks, row, made, made.masked(2), seed=9, epoch=2)
        assert found.positions_RM[row].tolist() == positions
        assert found.input_ids_RL[row, positions].tolist() == shown
    np.testing.assert_array_equal(found.labels_RM, np.take_along_axis(blocks.ids_RL, found.positions_RM, axis=1))


@pytest.mark.parametrize("unit", UNITS)
def test_exactly_m_are_masked_none_special_and_only_one_word_a_row_is_cut(unit: MaskUnit) -> None:
    blocks = some_rows(400)
    found = masked(blocks, unit)
    assert found.positions_RM.shape == (400, M)
    assert (np.diff(found.positions_RM, axis=1) > 0).all()
    assert not np.isin(found.labels_RM, SPECIAL).any()
    cut = 0
    for row in range(400):
        assert blocks.segments_RL is not None
        assert blocks.words_RL is not None
        chosen = set(found.positions_RM[row].tolist())
        ids = blocks.ids_RL[row].tolist()
        words = plain_words(ids, blocks.segments_RL[row].tolist(), blocks.words_RL[row].tolist())
        maskable = [[i for i in word if ids[i] not in SPECIAL] for word in words]
        partly = [word for word in maskable if 0 < len(chosen & set(word)) < len(word)]
        assert len(partly) <= 1
        assert all(chosen & set(word) == set(word[: len(chosen & set(word))]) for word in partly)  # its end is cut
        cut += len(partly)
    assert 0 < cut < 400


def test_a_word_that_is_longer_than_m_is_cut_and_a_block_with_just_enough_is_masked_whole() -> None:
    ids = np.full((1, LENGTH), 3, dtype=np.int32)
    ids[0, 10:60] = 50
    words = np.ones_like(ids, dtype=np.uint8)
    words[0, 11:60] = 0
    for unit in UNITS:
        assert masked(Rows(ids, None, words), unit).positions_RM[0].tolist() == list(range(10, 10 + M))
    ids[0, 10 + M :] = 3
    words[:] = 1
    for unit in UNITS:
        assert masked(Rows(ids, None, words), unit).positions_RM[0].tolist() == list(range(10, 10 + M))
    ids[0, 10] = 3
    for unit in UNITS:
        with pytest.raises(ValueError, match=f"fewer than {M} maskable"):
            masked(Rows(ids, None, words), unit)


def test_a_span_never_crosses_a_piece_even_where_no_special_token_stands_between() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, VOCAB, (200, LENGTH)).astype(np.int32)
    pieces = (1 + np.arange(LENGTH) // 4 * np.ones_like(ids)).astype(np.int16)
    blocks = Rows(ids, pieces, np.ones_like(ids, dtype=np.uint8))
    words = words_of(blocks, np.ones(ids.shape), rng.random(ids.shape))
    spans = spans_of(words, np.full((200, 30), 3), 30)
    spans = np.where(np.isinf(spans), -1, spans)
    for row in range(200):
        for number in range(int(spans[row].max()) + 1):
            assert len({*pieces[row, spans[row] == number].tolist()}) <= 1
    sizes = np.bincount(np.concatenate([np.bincount(row[row >= 0].astype(int)) for row in spans]))
    assert sizes[3] > 0
    assert len(sizes) == 4


def test_lengths_of_spans_are_geometric_cut_off_at_ten_and_3_8_on_average() -> None:
    found = span_lengths((np.arange(1_000_000) + 0.5) / 1_000_000)
    shares = np.bincount(found, minlength=12)[1:] / 1_000_000
    expected = np.array([0.2 * 0.8**k for k in range(10)])
    np.testing.assert_allclose(shares, [*expected / expected.sum(), 0], atol=2e-6)
    assert found.mean() == pytest.approx(3.8, abs=0.01)
    assert span_lengths(np.array([0.0, np.nextafter(1, 0)])).tolist() == [1, 10]


def spanbert(length: int, m: int, rng: np.random.Generator) -> list[int]:
    """Masked positions as SpanBERT draws them (section 3.1), every token a word by itself."""
    share = 0.2 * 0.8 ** np.arange(10)
    chosen: set[int] = set()
    while len(chosen) < m:
        most = rng.choice(np.arange(1, 11), p=share / share.sum())
        start = int(rng.integers(length))
        if start in chosen:
            continue
        for i in range(start, min(start + most, length)):
            if len(chosen) < m:
                chosen.add(i)
    return sorted(chosen)


def runs(positions: list[int]) -> list[int]:
    """Lengths of the runs of neighbouring positions."""
    breaks = np.flatnonzero(np.diff(positions) > 1) + 1
    return [len(part) for part in np.split(np.array(positions), breaks)]


def test_runs_of_masked_words_are_as_long_as_spanberts_own() -> None:
    """2,000 rows of 256 words, 38 of them masked: the histograms of runs differ by no more than chance."""
    ids = np.random.default_rng(3).integers(5, VOCAB, (2000, 256)).astype(np.int32)
    blocks = Rows(ids, None, np.ones_like(ids, dtype=np.uint8))
    ours = masked(blocks, "span", smoothing=0.0, length=256).positions_RM
    rng = np.random.default_rng(4)
    theirs = [spanbert(256, ours.shape[1], rng) for _ in range(2000)]
    a, b = (np.bincount([n for row in rows for n in runs(row)], minlength=60)[1:16] for rows in (ours.tolist(), theirs))
    assert (np.abs(a - b) < 4.5 * np.sqrt(a + b)).all()
    assert a.sum() == pytest.approx(b.sum(), rel=0.03)


def kinds(found: Masked) -> np.ndarray:
    """0 where [MASK] is shown, 1 what stood there, 2 another token."""
    shown = np.take_along_axis(found.input_ids_RL, found.positions_RM, axis=1)
    return np.where(shown == MASK_ID, 0, np.where(shown == found.labels_RM, 1, 2))


@pytest.mark.parametrize("unit", UNITS)
def test_fates_are_80_10_10_each_tokens_own_in_words_and_a_spans_together(unit: MaskUnit) -> None:
    """A token's fate equals its left neighbour's by chance in 0.66 of cases, and always within a span."""
    found = masked(some_rows(3000), unit)
    found_kinds = kinds(found)
    shares = np.bincount(found_kinds.ravel(), minlength=3) / found_kinds.size
    wide = 4 if unit == "word" else 12  # tokens of a span count as one
    assert (np.abs(shares - [0.8, 0.1, 0.1]) < wide * np.sqrt(0.16 / found_kinds.size) + 0.1 / (VOCAB - 5)).all()
    neighbours = np.diff(found.positions_RM, axis=1) == 1
    same = (found_kinds[:, 1:] == found_kinds[:, :-1])[neighbours].mean()
    assert (0.63 < same < 0.69) if unit == "word" else same > 0.9


@pytest.mark.parametrize("unit", UNITS)
def test_a_word_is_masked_as_often_as_its_rarest_token_asks(unit: MaskUnit) -> None:
    """Words of a frequent and a rare token beside words of two frequent ones, beside numpy's own draw of words."""
    ids = np.full((1, 42), 3, dtype=np.int32)
    ids[0, 1:41] = 10
    ids[0, 2:22:2] = 11  # the second token of the first ten words
    words = np.ones_like(ids, dtype=np.uint8)
    words[0, 2:41:2] = 0
    counts = np.ones(VOCAB, dtype=np.int64)
    counts[10] = 64
    made = mask_rule(counts, special_ids=SPECIAL, mask_id=MASK_ID, block_length=42, rate=0.1, smoothing=0.5, unit=unit)
    trials, hits = 2000, np.zeros(42)
    for epoch in range(trials):
        hits[mask(Rows(ids, None, words), np.array([3]), epoch=epoch, seed=1, rule=made).positions_RM[0]] += 1
    assert hits.sum() == 4 * trials
    if unit == "word":
        weight = np.repeat([1.0, 1 / 8], 10)
        rng, expected = np.random.default_rng(2), np.zeros(20)
        for _ in range(trials):
            expected[rng.choice(20, 2, replace=False, p=weight / weight.sum())] += 1
        np.testing.assert_array_equal(hits[1:41:2], hits[2:42:2])
        assert (np.abs(hits[1:41:2] - expected) < 4.5 * np.sqrt(2 * np.maximum(expected, 10))).all()
    assert hits[1:21].sum() > 2.5 * hits[21:41].sum()


@pytest.mark.parametrize("unit", UNITS)
def test_masks_are_the_same_in_any_batch_and_others_in_the_next_epoch(unit: MaskUnit) -> None:
    blocks = some_rows(AT_ONCE + 40)
    whole = masked(blocks, unit, epoch=3)
    order = np.random.default_rng(1).permutation(len(blocks))
    for rows in (order, order[:5], np.array([AT_ONCE]), np.arange(0, len(blocks), 2)):
        part = mask(blocks[rows], rows, epoch=3, seed=7, rule=rule(unit))
        for name in ("input_ids_RL", "positions_RM", "labels_RM"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
    one, next_one = (masked(blocks, unit, epoch=epoch, smoothing=0.0).positions_RM for epoch in (3, 4))
    same = [np.isin(p, q).mean() for p, q in zip(one, next_one, strict=True)]
    assert np.mean(same) < 0.25  # chance is 14 in 78


def test_tokens_are_masked_the_same_whether_borders_of_words_are_kept_or_not() -> None:
    blocks = some_rows(50)
    with_words, without = masked(blocks, "token"), masked(Rows(blocks.ids_RL, blocks.segments_RL), "token")
    np.testing.assert_array_equal(with_words.input_ids_RL, without.input_ids_RL)
    for unit in UNITS:
        with pytest.raises(ValueError, match="without the borders of words"):
            masked(Rows(blocks.ids_RL, blocks.segments_RL), unit)


@pytest.mark.parametrize("unit", ["token", *UNITS])
def test_a_rate_that_changes_by_epoch_masks_as_many_as_that_epochs_rate_alone(unit: MaskUnit) -> None:
    blocks = some_rows(20)
    made = rule(unit, rate=(0.4, 0.1), epochs=4)
    assert [made.masked(epoch) for epoch in range(6)] == [38, 28, 19, 9, 9, 9]  # of 94: 37.6, 28.2, 18.8, 9.4
    for epoch, rate in enumerate((0.4, 0.3, 0.2, 0.1)):
        found = mask(blocks, np.arange(20), epoch=epoch, seed=7, rule=made)
        alone = masked(blocks, unit, epoch=epoch, rate=rate)
        np.testing.assert_array_equal(found.input_ids_RL, alone.input_ids_RL)
        np.testing.assert_array_equal(found.positions_RM, alone.positions_RM)


def test_rate_goes_in_a_line_from_the_first_epochs_to_the_lasts() -> None:
    assert [rate_in(epoch, epochs=3, rate=(0.3, 0.1)) for epoch in range(5)] == pytest.approx([0.3, 0.2, 0.1, 0.1, 0.1])
    assert rate_in(0, epochs=1, rate=(0.3, 0.1)) == 0.3
    assert [rate_in(epoch, epochs=3, rate=0.15) for epoch in range(4)] == [0.15] * 4
