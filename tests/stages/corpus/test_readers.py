"""Every format and compression against plain Python writing, and every kind of broken file."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpus.readers import Damaged, check_table, documents, format_of
from stages.errors import InputError

TEXTS = ["A plain line.", "Ünïcode – ‘quotes’ 漢字", 'With "quotes", commas', "x" * 3_000_000, "last \u2028 one"]


def _txt(texts: list[str]) -> bytes:
    return "\n".join(texts).encode() + b"\n"


def _jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": 1, "text": text}) + "\n" for text in texts).encode()


def _csv(texts: list[str]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["id", "text"], *([str(place), text] for place, text in enumerate(texts))])
    return out.getvalue().encode()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :]),  # two members
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize(("suffix", "write"), [(".txt", _txt), (".jsonl", _jsonl), (".csv", _csv)])
def test_documents_any_format_and_compression_come_back(
    tmp_path: Path, suffix: str, write: Callable[[list[str]], bytes], ending: str
) -> None:
    file = tmp_path / f"data{suffix}{ending}"
    file.write_bytes(COMPRESS[ending](write(TEXTS)))
    found = list(documents(str(file), "text", "line"))
    assert [text for text in found if text] == TEXTS


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_documents_parquet_come_back_without_nulls(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"n": range(len(TEXTS) + 1), "text": pa.array([*TEXTS, None]).cast(kind)})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=2)
    assert list(documents(str(tmp_path / "data.parquet"), "text", "line")) == TEXTS


def test_documents_per_file_is_one_document_without_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(b"\xef\xbb\xbf" + _txt(TEXTS))
    assert list(documents(str(tmp_path / "book.txt"), "text", "file")) == ["\n".join(TEXTS) + "\n"]


def test_documents_csv_quoted_line_ends_stay_in_the_field(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(_csv(["two\nlines", "next"]))
    assert list(documents(str(tmp_path / "a.csv"), "text", "line")) == ["two\nlines", "next"]


@pytest.mark.parametrize("ending", COMPRESS)
def test_documents_not_utf8_names_file_and_byte(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"latin.txt{ending}"
    good = ("a good line\n" * 200_000).encode()
    file.write_bytes(COMPRESS[ending](good + b"na\xefve\n"))
    with pytest.raises(InputError, match=rf"latin\.txt.* 0xef at offset {len(good) + 2:,};"):
        list(documents(str(file), "text", "line"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b'{"text": "x"}\n{broken\n', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "line 2 is no JSON object"),
        ("a.jsonl", b'{"body": "x", "title": "y"}\n', "no column 'text'.*body, title"),
        ("a.jsonl", b'{"text": 3}\n', "holds int and not text"),
        ("a.csv", b"body,title\nx,y\n", "no column 'text'.*body, title"),
        ("a.csv", b"id,text\n1,x\n2\n", "line 3 has 1 of 2 columns"),
        ("a.csv", b"", "no column 'text'.*none"),
        ("a.txt.gz", b"this is not gzip", "cannot read .*a.txt.gz"),
        ("a.txt.gz", gzip.compress(b"some text " * 100)[:-20], "cannot read .*a.txt.gz"),
        ("a.parquet", b"this is no table at all", "cannot read .*a.parquet"),
    ],
)
def test_documents_broken_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        list(documents(str(tmp_path / name), "text", "line"))


def test_documents_parquet_wrong_column_or_type_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"no column 'text'.*body, n"):
        list(documents(str(tmp_path / "a.parquet"), "text", "line"))
    with pytest.raises(InputError, match=r"column 'n' .* holds int64 and not text"):
        list(documents(str(tmp_path / "a.parquet"), "n", "line"))


def write_table(file: Path, **how: object) -> bytes:
    """Three row groups of text; gives the file's bytes."""
    pq.write_table(pa.table({"text": [f"Text number {n}" for n in range(3000)]}), file, row_group_size=1000, **how)
    return file.read_bytes()


def test_check_table_cut_short_is_damaged_without_reading_it_through(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    good = write_table(file)
    check_table(str(file), "text")
    file.write_bytes(good[: len(good) // 2])
    with pytest.raises(Damaged, match=r"cannot read .*a\.parquet"):
        check_table(str(file), "text")
    file.write_bytes(b"\0" * len(good))
    with pytest.raises(Damaged, match=r"a\.parquet"):
        check_table(str(file), "text")
    write_table(file)
    with pytest.raises(InputError, match="no column 'body'") as raised:
        check_table(str(file), "body")
    assert not isinstance(raised.value, Damaged), "a wrong setting is no damage"


@pytest.mark.parametrize("how", [{"compression": "gzip"}, {"compression": "none", "write_page_checksum": True}])
def test_documents_parquet_overwritten_in_the_middle_is_damaged(tmp_path: Path, how: dict[str, object]) -> None:
    file = tmp_path / "a.parquet"
    good = bytearray(write_table(file, **how))
    good[len(good) // 2 : len(good) // 2 + 40] = bytes(40)
    file.write_bytes(good)
    check_table(str(file), "text")
    with pytest.raises(Damaged, match=r"cannot read .*a\.parquet"):
        list(documents(str(file), "text", "line"))


@pytest.mark.parametrize("seed", range(4))
def test_documents_parquet_with_random_bytes_is_damaged_or_whole_and_never_something_else(
    tmp_path: Path, seed: int
) -> None:
    """With checksums on its pages: without them an uncompressed page may be changed and nobody can tell."""
    rng, file = random.Random(seed), tmp_path / "a.parquet"
    good = write_table(file, write_page_checksum=True)
    whole = list(documents(str(file), "text", "line"))
    for _ in range(25):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= rng.randrange(1, 256)
        file.write_bytes(bad)
        with suppress(InputError):  # a column's name may be what has changed
            assert list(documents(str(file), "text", "line")) == whole


def test_documents_file_that_cannot_be_reached_is_no_damage(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.txt", "a.jsonl.gz"):
        with pytest.raises(InputError, match="check the address and your access") as raised:
            list(documents(str(tmp_path / name), "text", "line"))
        assert not isinstance(raised.value, Damaged)


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.parquet.gz", "a.gz", "dir.txt/a", "a.bz2"])
def test_format_of_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"is none of \.txt, \.jsonl, \.csv, \.parquet"):
        format_of(name)


def test_format_of_uri_ignores_the_stores_options() -> None:
    assert format_of("s3://bucket/a.b/c.JSONL.gz?region=eu-west-1.x") == (".jsonl", "gzip")
