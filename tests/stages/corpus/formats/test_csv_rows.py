"""CSV text that was lost without a word: behind a comma, behind a quote, under another delimiter."""

import csv
import io
from pathlib import Path

import pytest

from stages.corpus.checks import check
from stages.corpus.config import CorpusConfig
from stages.corpus.readers import Damaged, documents
from stages.errors import ConfigError, InputError


def _read(folder: Path, content: str, name: str = "a.csv", delimiter: str | None = None) -> list[str]:
    (folder / name).write_bytes(content.encode())
    return list(documents(str(folder / name), "text", "line", delimiter))


def test_csv_text_with_an_unquoted_comma_is_damage_and_not_cut_short(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"a\.csv line 3 has 3 columns and the header 2"):
        _read(tmp_path, "id,text\n0,a bank\n1,the river, the stone\n")
    with pytest.raises(Damaged, match=r"a\.csv line 2 has 2 columns and the header 1"):
        _read(tmp_path, "text\nthe river, the stone\n")
    with pytest.raises(Damaged, match=r"a\.csv line 2 has 3 columns and the header 2"):
        _read(tmp_path, "text,id\nthe river, the stone,1\n")
    assert _read(tmp_path, 'id,text\n1,"the river, the stone"\n') == ["the river, the stone"]


def test_csv_quote_that_is_never_closed_is_damage_with_its_line(tmp_path: Path) -> None:
    rows = [f"{number},row {number}\n" for number in range(200)]
    rows[1] = '1,"row 1\n'
    with pytest.raises(Damaged, match=r"a\.csv line 3 opens a quote that is never closed"):
        _read(tmp_path, "id,text\n" + "".join(rows))
    with pytest.raises(Damaged, match="line 1 opens a quote that is never closed"):
        _read(tmp_path, 'id,text,"more\n1,x,y\n')
    with pytest.raises(Damaged, match="line 2 opens a quote that is never closed"):
        _read(tmp_path, 'id,text\n1,"in the last line')


def test_csv_quote_closed_by_the_next_rows_quote_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"a\.csv line 3 is not CSV: ',' expected after '\"'"):
        _read(tmp_path, 'id,text\n0,"whole"\n1,"row one\n2,"row two"\n3,"row three"\n')


def test_csv_rows_that_were_read_well_are_read_as_before(tmp_path: Path) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["id", "text"], [0, 'two\nlines, "quoted"'], [1, "a\tb;c"], [2, ""], [3, "last"]])
    assert _read(tmp_path, out.getvalue()) == ['two\nlines, "quoted"', "a\tb;c", "", "last"]
    assert _read(tmp_path, 'text,id\n5" pipes,1\n\nshort\n"in" one line,2\n"no end of line",3') == [
        '5" pipes',
        "short",
        "in one line",
        "no end of line",
    ]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_csv_with_another_delimiter_is_found_by_its_header(tmp_path: Path, mark: str) -> None:
    content = f'id{mark}text\n1{mark}the river, the stone\n2{mark}"a {mark} b"\n'
    assert _read(tmp_path, content) == ["the river, the stone", f"a {mark} b"]
    assert _read(tmp_path, f'"id"{mark}"text"{mark}"a\nb"\n1{mark}x{mark}y\n') == ["x"]


def test_csv_is_never_taken_for_one_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'text'.*id, body") as raised:
        _read(tmp_path, "id;body\n1;x\n")
    assert not isinstance(raised.value, Damaged)
    with pytest.raises(InputError, match=r"more than one delimiter; set corpus\.delimiter"):
        _read(tmp_path, "a\tb;text;c\ttext\td\n1\t2;3;4\t5\n")
    with pytest.raises(InputError, match=r"no column 'text'.*id\|text; or corpus\.delimiter"):
        _read(tmp_path, "id|text\n1|x\n")


def test_csv_delimiter_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    assert _read(tmp_path, "id|text\n1|a, b; c\n", delimiter="|") == ["a, b; c"]
    (tmp_path / "b.csv").write_text("id|text\n1|a, b; c\n")
    check(CorpusConfig(paths=(f"{tmp_path}/b.csv",), delimiter="|"))
    with pytest.raises(InputError, match="no column 'text'"):
        check(CorpusConfig(paths=(f"{tmp_path}/b.csv",), delimiter="tab"))


def test_tsv_is_separated_by_tabs(tmp_path: Path) -> None:
    assert _read(tmp_path, "id\ttext\n1\tthe river, the stone\n", name="a.tsv") == ["the river, the stone"]
    with pytest.raises(InputError, match=r"no column 'text'.*id,text"):
        _read(tmp_path, "id,text\n1,x\n", name="b.tsv")


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n"])
def test_config_delimiter_of_no_single_character_names_the_field(delimiter: str) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.delimiter"):
        CorpusConfig(delimiter=delimiter)
