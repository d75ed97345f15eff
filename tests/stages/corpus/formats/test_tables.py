"""Parquet by whatever writer: the kinds of string there are."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpus.checks import check
from stages.corpus.config import CorpusConfig
from stages.corpus.readers import Damaged, documents
from stages.errors import InputError

TEXTS = ["A plain line.", "Ünïcode – 漢字", "x" * 300_000]


@pytest.mark.parametrize(
    "kind", [pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())]
)
def test_parquet_with_another_kind_of_string_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    raw = pa.array([text.encode() for text in TEXTS] + [None], pa.binary())
    column = raw.cast(kind) if not pa.types.is_dictionary(kind) else raw.dictionary_encode()
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    check(CorpusConfig(paths=(f"{tmp_path}/a.parquet",)))
    assert list(documents(f"{tmp_path}/a.parquet", "text", "line")) == TEXTS


def test_parquet_bytes_that_are_not_utf8_are_damage_with_their_row(tmp_path: Path) -> None:
    rows = [b"a"] * 100 + ["naïve".encode("latin-1")]
    pq.write_table(pa.table({"text": pa.array(rows, pa.binary())}), tmp_path / "a.parquet")
    with pytest.raises(Damaged, match=r"a\.parquet row 101 is not UTF-8: byte 0xef at its offset 2"):
        list(documents(f"{tmp_path}/a.parquet", "text", "line"))


def test_parquet_with_nothing_but_nulls_holds_no_document(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([None, None])}), tmp_path / "a.parquet")
    assert list(documents(f"{tmp_path}/a.parquet", "text", "line")) == []


def test_parquet_with_the_column_twice_is_refused_in_a_sentence(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet has 2 columns 'text'; rename all but one"):
        check(CorpusConfig(paths=(f"{tmp_path}/a.parquet",)))


def test_table_without_the_column_is_known_beforehand_wherever_it_stands(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02d}.jsonl").write_text('{"text": "A line."}\n')
    (tmp_path / "17.jsonl").write_text('{"body": "A line."}\n')
    with pytest.raises(InputError, match=r"17\.jsonl line 1 has no column 'text'"):
        check(CorpusConfig(paths=(str(tmp_path),)))
