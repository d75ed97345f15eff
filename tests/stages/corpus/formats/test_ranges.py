"""A file in parts: every row once, in order, with the unit and the damage that the whole file has."""

import json
import random
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpus import readers
from stages.corpus.formats import ranges, tables, text
from stages.corpus.formats.ranges import Range
from stages.errors import InputError

RANDOM = random.Random(0)
TEXTS = [f"Text {n}: " + "naïve 漢字 " * RANDOM.choice((0, 1, 3, 40)) for n in range(400)]


def _write(file: Path) -> None:
    if file.suffix == ".parquet":
        pq.write_table(pa.table({"n": range(len(TEXTS)), "text": TEXTS}), file, row_group_size=17)
    elif file.suffix == ".txt":
        file.write_bytes("\n".join(TEXTS).encode())
    else:
        file.write_text("".join(json.dumps({"text": one}, ensure_ascii=False) + "\r\n\n" for one in TEXTS))


def _parts(size: int, cuts: list[int]) -> list[Range]:
    places = [0, *sorted(cuts), size]
    return [Range(start=a, end=None if b == size else b) for a, b in pairwise(places) if a < b or not a]


@pytest.mark.parametrize("chunk", [11, 1 << 20])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.ndjson", "a.parquet"])
def test_rows_of_parts_are_those_of_the_file_wherever_it_is_cut(
    tmp_path: Path, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    for module in (ranges, text):
        monkeypatch.setattr(module, "UNIT_BYTES", 700)
    file = tmp_path / name
    _write(file)
    whole = list(readers.rows(str(file), "text", "line"))
    assert [one for _, one in whole if one] == TEXTS
    assert len({unit for unit, _ in whole}) > 10
    size = file.stat().st_size
    for cuts in ([1], [size - 1], [700, 1400], *([RANDOM.randrange(size) for _ in range(9)] for _ in range(10))):
        found = [row for part in _parts(size, cuts) for row in readers.rows(str(file), "text", "line", part=part)]
        assert found == whole, cuts


def test_rows_have_the_unit_that_their_line_begins_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ranges, text):
        monkeypatch.setattr(module, "UNIT_BYTES", 700)
    file = tmp_path / "a.txt"
    _write(file)
    begin, expected = 0, []
    for line in file.read_bytes().split(b"\n"):
        expected.append((begin // 700, line.decode()))
        begin += len(line) + 1
    assert list(readers.rows(str(file), "text", "line")) == expected


def test_file_with_the_line_ends_of_old_macs_is_the_first_parts(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\r".join(TEXTS).encode())
    first, second = _parts(file.stat().st_size, [1000])
    assert [one for _, one in readers.rows(str(file), "text", "line", part=first)] == TEXTS
    assert list(readers.rows(str(file), "text", "line", part=second)) == []


@pytest.mark.parametrize("wrong", ["{", '{"body": "x"}', "3"])
def test_damage_in_a_later_part_is_named_by_the_line_of_the_file(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": one}) for one in TEXTS]
    lines[299] = wrong
    file.write_text("\n".join(lines))
    begin = len("\n".join(lines[:299])) + 1
    for start in (1, begin - 500, begin - 1, begin):
        with pytest.raises(readers.Damaged, match=r"a\.jsonl line 300 "):
            list(readers.rows(str(file), "text", "line", part=Range(start=start)))


def test_text_that_is_not_utf8_is_named_by_its_offset_in_the_file(tmp_path: Path) -> None:
    good = ("\n".join(TEXTS) + "\n").encode()
    (tmp_path / "a.txt").write_bytes(good + b"caf\xe9\n" + good)
    with pytest.raises(readers.Damaged, match=rf"byte 0xe9 at offset {len(good) + 3:,}"):
        list(readers.rows(str(tmp_path / "a.txt"), "text", "line", part=Range(start=len(good) - 300)))


def test_parquet_row_that_is_not_utf8_is_named_by_its_number_in_the_file(tmp_path: Path) -> None:
    values = [one.encode() for one in TEXTS]
    values[250] = b"caf\xe9"
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet", row_group_size=40)
    places = list(tables._begins(pq.read_metadata(tmp_path / "a.parquet")))
    with pytest.raises(readers.Damaged, match="row 251 is not UTF-8"):
        list(readers.rows(str(tmp_path / "a.parquet"), "text", "line", part=Range(start=places[5])))
    assert len(list(readers.rows(str(tmp_path / "a.parquet"), "text", "line", part=Range(end=places[6])))) == 240


def test_wrong_column_is_a_wrong_setting_for_the_first_part(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n' * 3000)
    with pytest.raises(InputError, match="no column 'text'") as raised:
        list(readers.rows(str(tmp_path / "a.jsonl"), "text", "line", part=Range(end=14_000)))
    assert not isinstance(raised.value, readers.Damaged)


@pytest.mark.parametrize(
    ("name", "per", "can"),
    [
        ("a.txt", "line", True),
        ("a.txt", "file", False),
        ("a.jsonl", "file", True),
        ("a.jsonl.gz", "line", False),
        ("a.json", "line", False),
        ("a.csv", "line", False),
        ("a.parquet", "line", True),
    ],
)
def test_can_be_split_where_a_row_can_be_found_from_the_middle(name: str, per: str, can: bool) -> None:
    assert readers.can_be_split(name, per) is can  # type: ignore[arg-type]


def test_ranges_are_whole_units_and_cover_the_file() -> None:
    unit = ranges.UNIT_BYTES
    assert ranges.ranges(unit, 5) == [ranges.WHOLE]
    found = ranges.ranges(5 * unit + 3, unit + 1)
    assert found == [Range(start=0, end=2 * unit), Range(start=2 * unit, end=4 * unit), Range(start=4 * unit)]
