"""JSON in every shape that data comes in, and a line that is unlike the others."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from stages.corpus.formats import json_rows, text
from stages.corpus.readers import Damaged, documents
from stages.errors import InputError

TEXTS = ["A plain line.", "Ünïcode – 漢字 😀", 'With "quotes", [brackets] and {braces}', "x" * 50_000, "two\nlines"]
ROWS = [{"id": place, "more": {"text": [1, {"a": None}]}, "text": value} for place, value in enumerate([*TEXTS, None])]
SHAPES = {
    "lines": "\n".join(json.dumps(row) for row in ROWS),
    "list": json.dumps(ROWS),
    "list, unescaped": json.dumps(ROWS, ensure_ascii=False),
    "list in lines": "[\n" + ",\n".join(json.dumps(row) for row in ROWS) + "\n]\n",
    "pretty list": "\n " + json.dumps(ROWS, indent=2),
    "pretty objects": "\n".join(json.dumps(row, indent=2) for row in ROWS),
}


def _read(folder: Path, content: str | bytes, name: str = "a.json") -> list[str]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(documents(str(folder / name), "text", "line"))


@pytest.mark.parametrize("shape", SHAPES)
def test_json_file_of_lines_or_one_list_is_read(tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = SHAPES[shape]
    assert _read(tmp_path, content) == TEXTS
    assert _read(tmp_path, gzip.compress(content.encode()), "a.json.gz") == TEXTS
    assert _read(tmp_path, pa.Codec("zstd").compress(content.encode(), asbytes=True), "a.json.zst") == TEXTS
    for size in (7, 1000):  # wherever a piece ends, within a character too
        monkeypatch.setattr(text, "CHUNK_BYTES", size)
        assert _read(tmp_path, content) == TEXTS


def test_json_ndjson_is_lines(tmp_path: Path) -> None:
    assert _read(tmp_path, SHAPES["lines"], "a.ndjson") == TEXTS


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('[{"text": "x"},\n{"text": "y"}', r"a\.json line 2 ends within a list that is never closed"),
        ('[{"text": "x"}]\n[{"text": "y"}]', "line 1 has more behind the end of its list"),
        ('[{"text": "x"},\n\n{"text": "y]', "line 3 is not JSON"),
        ('[{"text": "x"},\n{"text" "y"}, ' + "1, " * 99 + "]", "line 2 is not JSON"),
        ('{"text": "x"}\n"y"', "line 2 is no JSON object"),
        ("[" * 100_000, "line 1 is no"),
    ],
)
def test_json_broken_file_is_damage_with_its_line(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(Damaged, match=sentence):
        _read(tmp_path, content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("odd", ['{"body": "z"}', '{"text": 3}'])
def test_json_line_without_text_among_others_is_damage_and_can_be_skipped(tmp_path: Path, name: str, odd: str) -> None:
    good = ['{"text": "x"}', '{"text": null}']
    for place in range(3):
        lines = [*good[:place], odd, *good[place:]]
        with pytest.raises(Damaged, match=rf"line {place + 1} has no text in 'text', and other lines of the file have"):
            _read(tmp_path, "\n".join(lines), name)


@pytest.mark.parametrize("rows", [3, 3 * json_rows.LOOKED_AT])
def test_json_without_text_anywhere_is_a_wrong_column_and_no_damage(tmp_path: Path, rows: int) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl line 1 has no column 'text'.*: body") as raised:
        _read(tmp_path, '{"body": "z"}\n' * rows, "a.jsonl")
    assert not isinstance(raised.value, Damaged)
