"""Cleaning, ids, the split, and the shard writer."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages.corpus.documents import DocumentWriter, document_id, is_heldout, normalise
from stages.storage import Folder


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain", "plain"),
        ("  two\t words \r\n here ", "two words here"),
        ("cafe\u0301", "caf\u00e9"),
        ("\ufeffa\u00adb\u200bc\x00d\x1b", "abcd"),
        ("a\u00a0b\u2028c", "a b c"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        (" \n ", ""),
        ("", ""),
    ],
)
def test_normalise_gives_one_clean_line_and_is_idempotent(raw: str, clean: str) -> None:
    assert normalise(raw) == clean
    assert normalise(clean) == clean


def test_is_heldout_takes_about_the_fraction_and_grows_with_it() -> None:
    ids = [document_id(f"document {number}") for number in range(20_000)]
    small, large = ({i for i in ids if is_heldout(i, fraction)} for fraction in (0.02, 0.1))
    assert small < large
    assert abs(len(small) - 400) < 80  # four standard deviations
    assert abs(len(large) - 2000) < 170
    assert not any(is_heldout(i, 0.0) for i in ids)


def test_writer_rolls_over_and_keeps_order(tmp_path: Path) -> None:
    texts = [f"{number:04d} " + "x" * 95 for number in range(25)]
    with DocumentWriter(Folder(str(tmp_path)), "train/part-00003", 1000) as writer:
        for text in texts:
            writer.add(text, document_id(text))
    assert [shard.name for shard in writer.shards] == [f"train/part-00003-{k:03d}.parquet" for k in range(3)]
    assert [shard.documents for shard in writer.shards] == [10, 10, 5]
    assert [shard.characters for shard in writer.shards] == [1000, 1000, 500]
    rows = [row for shard in writer.shards for row in pq.read_table(tmp_path / shard.name).to_pylist()]
    assert rows == [{"id": document_id(text), "text": text} for text in texts]


def test_writer_without_documents_writes_nothing(tmp_path: Path) -> None:
    with DocumentWriter(Folder(str(tmp_path)), "train/part-00000", 1000) as writer:
        pass
    assert writer.shards == []
    assert not list(tmp_path.rglob("*.parquet"))
