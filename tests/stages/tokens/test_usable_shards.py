"""Which block shards are whole: beside files cut short, with a flipped bit, of another shape."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import LENGTH, tiny_blocks, tiny_ids, write_shard
from trainings import damage

from pipeline.records.record import fingerprint, identify
from stages.errors import InputError
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.tokens.usable_shards import fault, usable_shards
from stages.training.config import TrainConfig
from stages.training.loader import read_rows


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


@pytest.fixture
def blocks(tmp_path: Path) -> Blocks:
    return tiny_blocks(tmp_path / "blocks")


def place(blocks: Blocks, number: int) -> Path:
    return blocks.folder.path / blocks.shards[number].name


def test_fault_whole_shards_have_none(blocks: Blocks) -> None:
    for thorough in (False, True):
        assert [fault(blocks.folder, shard, LENGTH, ("ids",), thorough) for shard in blocks.shards] == [None] * 3


def test_fault_a_flipped_bit_is_found_by_reading_all_a_cut_end_at_once(blocks: Blocks) -> None:
    damage(place(blocks, 0))
    cut(place(blocks, 1))
    place(blocks, 2).unlink()
    flipped, short, gone = blocks.shards
    assert fault(blocks.folder, flipped, LENGTH, ("ids",), thorough=False) is None
    assert "part-00000.parquet cannot be read (" in str(fault(blocks.folder, flipped, LENGTH, ("ids",), thorough=True))
    assert "part-00001.parquet cannot be read (" in str(fault(blocks.folder, short, LENGTH, ("ids",), thorough=False))
    assert "part-00002.parquet is gone" in str(fault(blocks.folder, gone, LENGTH, ("ids",), thorough=False))


def test_fault_other_rows_or_another_block_length_are_said_with_both_numbers(blocks: Blocks) -> None:
    write_shard(place(blocks, 0), tiny_ids(22))
    write_shard(place(blocks, 1), tiny_ids(40, length=LENGTH + 1))
    said = [fault(blocks.folder, shard, LENGTH, ("ids",), thorough=False) for shard in blocks.shards[:2]]
    assert "has 22 rows and should have 23" in str(said[0])
    assert f"blocks of {LENGTH + 1} tokens and should have {LENGTH}" in str(said[1])


def test_read_rows_of_a_damaged_page_raises_its_name_and_never_gives_wrong_ids(blocks: Blocks) -> None:
    damage(place(blocks, 0))
    with pytest.raises(InputError, match=r"part-00000\.parquet cannot be read"):
        read_rows(blocks.folder, blocks.shards, np.arange(23))


def test_settle_shards_what_was_left_out_at_the_first_start_is_left_out_ever_after(
    ray_session: None, blocks: Blocks, tmp_path: Path
) -> None:
    folder = Folder(str(tmp_path / "run"))
    whole = place(blocks, 1).read_bytes()
    cut(place(blocks, 1))
    with pytest.raises(InputError, match=r"part-00001\.parquet cannot be read"):
        usable_shards(blocks, folder, skip=False)
    assert folder.names() == []
    first = usable_shards(blocks, folder, skip=True)
    assert first.damaged == ("train/part-00001.parquet",)
    assert first.blocks == replace(blocks, shards=(blocks.shards[0], blocks.shards[2]), tokens=32 * LENGTH)
    place(blocks, 1).write_bytes(whole)  # mended: the plan must not change in the middle of a training
    assert usable_shards(blocks, folder, skip=True) == first
    cut(place(blocks, 0))  # nor may a shard go
    with pytest.raises(InputError, match=r"part-00000\.parquet"):
        usable_shards(blocks, folder, skip=True)


def test_on_damaged_is_part_of_the_fingerprint_as_a_student_of_fewer_shards_is_another() -> None:
    whole, fewer = (identify("distil", 1, TrainConfig(on_damaged=choice)) for choice in ("refuse", "skip"))
    assert fingerprint(whole) != fingerprint(fewer)


def test_settle_shards_none_left_is_refused(ray_session: None, blocks: Blocks, tmp_path: Path) -> None:
    for number in range(3):
        cut(place(blocks, number))
    with pytest.raises(InputError, match="none of the 3 block shards"):
        usable_shards(blocks, Folder(str(tmp_path / "run")), skip=True)


def test_only_some_shards_are_as_full_as_all_were_not_fuller(blocks: Blocks) -> None:
    """A share of the tokens goes with the rows: a training without a damaged shard is no faster for it."""
    half_full = replace(blocks, tokens=blocks.tokens // 2)
    left = half_full.only(half_full.shards[:2])
    assert left.rows == 63
    assert left.fill == pytest.approx(half_full.fill, rel=1e-3) == pytest.approx(0.5)
