"""Held-out text: the same rows and masks for every model, run, seed and micro-batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from published import SPECIAL
from tiny import CLS_ID, LENGTH, MASK_ID, SEP_ID, WORDS, all_rows, tiny_bert, tiny_blocks, write_shard

from stages.distillation.data.batch import Batch
from stages.errors import InputError
from stages.evaluation.heldout import Heldout, halves, heldout, score_all
from stages.tokens.blocks import Blocks

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Blocks:
    return tiny_blocks(tmp_path_factory.mktemp("blocks"), heldout=(30, 20, 14))


def joined(held: Heldout) -> Batch:
    names = ("input_ids_RL", "positions_RM", "labels_RM")
    return Batch(*(torch.cat([getattr(batch, name) for batch in held.batches]) for name in names))


def restored(held: Heldout) -> np.ndarray:
    """The blocks before masking."""
    batch = joined(held)
    return batch.input_ids_RL.scatter(1, batch.positions_RM, batch.labels_RM).numpy()


def test_heldout_whole_is_every_held_out_block_in_order(blocks: Blocks) -> None:
    held = heldout(blocks, most=1000, micro_batch=10, device=CPU)
    assert [len(batch.labels_RM) for batch in held.batches] == [10] * 6 + [4]
    assert held.rows == 64
    np.testing.assert_array_equal(restored(held), all_rows(blocks, blocks.heldout))


def test_heldout_fewer_are_spread_over_all_of_it(blocks: Blocks) -> None:
    found = restored(heldout(blocks, most=7, micro_batch=10, device=CPU))
    whole = all_rows(blocks, blocks.heldout)
    np.testing.assert_array_equal(found, whole[[0, 10, 21, 31, 42, 52, 63]])


def test_heldout_masks_depend_on_neither_micro_batch_nor_how_many_nor_training_counts(
    blocks: Blocks, tmp_path: Path
) -> None:
    whole = joined(heldout(blocks, most=64, micro_batch=64, device=CPU))
    cut = joined(heldout(blocks, most=64, micro_batch=3, device=CPU))
    few = joined(heldout(blocks, most=7, micro_batch=3, device=CPU))
    other = replace(blocks, shards=blocks.shards[:1], tokens=0)
    not_fingerprinted = joined(heldout(other, most=64, micro_batch=64, device=CPU))
    for name in ("input_ids_RL", "positions_RM", "labels_RM"):
        assert torch.equal(getattr(cut, name), getattr(whole, name))
        assert torch.equal(getattr(few, name), getattr(whole, name)[[0, 10, 21, 31, 42, 52, 63]])
        assert torch.equal(getattr(not_fingerprinted, name), getattr(whole, name))


def test_heldout_masks_a_fixed_count_uniformly_and_nothing_special(blocks: Blocks) -> None:
    batch = joined(heldout(blocks, most=64, micro_batch=64, device=CPU))
    assert batch.labels_RM.shape == (64, int(0.15 * (LENGTH - 2) + 0.5))
    assert batch.labels_RM.min() >= len(SPECIAL)
    shown = batch.input_ids_RL.gather(1, batch.positions_RM)
    assert 0.65 < (shown == MASK_ID).double().mean() < 0.95  # 128 positions at 0.8: four standard deviations
    places = torch.bincount(batch.positions_RM.flatten(), minlength=LENGTH)[1:-1].double()
    assert ((places - places.mean()) ** 2 / places.mean()).sum() < 13 + 4 * np.sqrt(26)


def test_score_all_rows_are_scored_alike_in_any_micro_batch_and_the_mode_is_kept(blocks: Blocks) -> None:
    model, teacher = tiny_bert(seed=1).train(), tiny_bert(seed=2)
    found = [
        score_all(model, heldout(blocks, most=20, micro_batch=size, device=CPU), teacher)
        for size in (20, 7)
    ]  # fmt: skip
    assert model.training
    (scores, close), (again, close_again) = found
    assert scores.mlm_loss.shape == (20,)
    assert close is not None
    assert close_again is not None
    torch.testing.assert_close(again.mlm_loss, scores.mlm_loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(close_again.kl, close.kl, rtol=1e-4, atol=1e-6)
    assert torch.equal(again.top1, scores.top1)
    assert score_all(model.eval(), heldout(blocks, most=2, micro_batch=2, device=CPU))[1] is None
    assert not model.training


def documents(lengths: list[int], rows: int, seed: int = 0) -> np.ndarray:
    """Blocks as packing makes them, of documents with so many tokens each; every document is of one word alone, and the
    next of another."""
    line: list[int] = []
    for number, length in enumerate(lengths):
        line += [len(SPECIAL) + (seed + number) % len(WORDS)] * length + [SEP_ID]
    ids = np.empty((rows, LENGTH), dtype=np.int32)
    ids[:, 0], ids[:, -1] = CLS_ID, SEP_ID
    ids[:, 1:-1] = np.array(line[: rows * (LENGTH - 2)]).reshape(rows, LENGTH - 2)
    return ids


def blocks_of(folder: Path, *shards: np.ndarray) -> Blocks:
    """Blocks whose held-out shards are these."""
    made = tiny_blocks(folder, heldout=tuple(len(ids) for ids in shards))
    for shard, ids in zip(made.heldout, shards, strict=True):
        write_shard(folder / shard.name, ids)
    return made


def words_in(blocks: Blocks, part: Blocks) -> set[int]:
    """Which words, and so which documents, are scored on."""
    assert part.heldout_rows is not None
    return set(all_rows(blocks, blocks.heldout)[slice(*part.heldout_rows)].ravel().tolist()) - set(range(len(SPECIAL)))


def test_halves_have_no_document_in_common_and_lose_no_block_but_where_it_is_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for case in range(20):
        lengths = rng.integers(1, 120, 38).tolist()  # most go over several blocks
        rows = (sum(lengths) + 38) // (LENGTH - 2)
        blocks = blocks_of(tmp_path / str(case), documents(lengths, rows))
        first, second = halves(blocks)
        assert first.heldout_rows is not None
        assert second.heldout_rows is not None
        assert first.heldout_rows[0] == 0
        assert second.heldout_rows == (first.heldout_rows[1] + 1, rows)
        assert abs(first.heldout_rows[1] - rows // 2) <= 120 / (LENGTH - 2)  # as near as a document ends
        assert words_in(blocks, first).isdisjoint(words_in(blocks, second))
        assert replace(first, heldout_rows=None) == replace(second, heldout_rows=None) == blocks


def test_halves_of_two_long_documents_are_cut_between_their_shards(tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path, documents([9999], 300), documents([9999], 90, seed=7))
    assert [part.heldout_rows for part in halves(blocks)] == [(0, 300), (300, 390)]


@pytest.mark.parametrize(
    ("lengths", "rows"), [([9999], 200), ([9999, 1], 200), ([20] * 9, 13), ([5], 1), ([10, 200], 15)]
)
def test_halves_of_too_little_say_so_in_a_sentence(lengths: list[int], rows: int, tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path, documents(lengths + [30] * 9, rows))
    with pytest.raises(InputError) as caught:
        halves(blocks)
    assert str(caught.value).startswith(f"the held-out text, {rows} blocks, cannot be cut between two documents")
    assert "corpus.heldout_fraction" in str(caught.value)


def test_heldout_of_a_half_is_its_blocks_with_the_masks_they_have_in_the_whole(blocks: Blocks) -> None:
    whole = joined(heldout(blocks, most=64, micro_batch=64, device=CPU))
    part = joined(heldout(replace(blocks, heldout_rows=(25, 60)), most=64, micro_batch=4, device=CPU))
    few = heldout(replace(blocks, heldout_rows=(25, 60)), most=3, micro_batch=4, device=CPU)
    for name in ("input_ids_RL", "positions_RM", "labels_RM"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[25:60])
        assert torch.equal(getattr(joined(few), name), getattr(whole, name)[[25, 42, 59]])
