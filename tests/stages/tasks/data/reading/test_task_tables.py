"""Tables as people have them: delimiters, quotes, pairs, lists; and each way in which one is refused."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from stages.errors import InputError
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.tasks.examples import Labelled, Texts, Words

ROWS = [("is it on?", "yes"), ('say "no", then', "no"), ("a\nb", "yes"), ("NA", "no"), ("None", "yes")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def loaded(path: Path, keys: str) -> Labelled:
    """Train and dev alike, so that nothing is cut."""
    other = path.with_name(f"dev-{path.name}")
    if not other.exists():
        other.write_bytes(path.read_bytes())
    return load(task_of(f"{path}:{keys},dev={other}"))


def rows_of(found: Labelled) -> list[tuple[str, str]]:
    assert isinstance(found.train, Texts)
    return [(text, found.classes[label]) for text, label in zip(found.train.first, found.train.labels, strict=True)]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "semicolon.csv", "a.jsonl", "a.json", "a.parquet"])
def test_table_of_each_format_is_the_same_rows(tmp_path: Path, name: str) -> None:
    table, path = pd.DataFrame(ROWS, columns=["question", "intent"]), tmp_path / name
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix in (".jsonl", ".json"):
        table.to_json(path, orient="records", lines=path.suffix == ".jsonl")
    else:
        table.to_csv(path, index=False, sep={"a.tsv": "\t", "semicolon.csv": ";"}.get(name, ","))
    found = loaded(path, "text=question,label=intent")
    assert rows_of(found) == ROWS  # a text that says NA is a text
    assert found.classes == ("no", "yes")
    assert found.notes[0] == f"{path}: kind=classes was taken, since its labels have 2 values."


def test_plain_lines_keep_their_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"so it began\t1\r\nhe said ""no""\t0\n')
    found = loaded(path, "quotes=no")
    assert rows_of(found) == [('"so it began', "1"), ('he said ""no""', "0")]
    with pytest.raises(InputError, match=r"line 2 opens a quote that is never closed.*or say quotes=no"):
        loaded(path, "kind=classes")


def test_table_without_a_header_is_read_by_places(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,Bonds fall,On Monday\n2,Cup won,On Sunday\n")
    found = loaded(path, "header=no,text=1+-1,label=0,kind=classes")
    assert isinstance(found.train, Texts)
    assert (found.train.first, found.train.second) == (("Bonds fall", "Cup won"), ("On Monday", "On Sunday"))
    with pytest.raises(InputError, match=r"has 3 columns without names: .* from 0 to 2 .* not '3'"):
        loaded(path, "header=no,text=3,label=0,kind=classes")


def test_pair_of_texts_and_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "one,two,score\na b,c d,1\ne,f,2.5\n")
    found = loaded(path, "text=one+two,label=score")
    assert isinstance(found.train, Texts)
    assert (found.train.second, found.train.labels.tolist()) == (("c d", "f"), [1.0, 2.5])
    assert (found.task.kind, found.classes) == ("number", ())
    assert found.task.metrics[0] == "r2"


def test_numbers_for_classes_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "".join(json.dumps({"text": "x", "label": n}) + "\n" for n in (10, 9, 2.0, 1)))
    assert loaded(path, "kind=classes").classes == ("1", "2", "9", "10")


def test_lists_of_words_and_of_labels(tmp_path: Path) -> None:
    rows = [{"tokens": ["Ada", "wrote"], "labels": ["B-PER", "O"]}, {"tokens": ["so"], "labels": ["O"]}]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    for keys in ("kind=tokens", "text=tokens,label=labels"):
        found = loaded(path, keys)
        assert found.train == Words((("Ada", "wrote"), ("so",)), ((0, 1), (1,)))
        assert (found.classes, found.task.metrics) == (("B-PER", "O"), ("span_f1",))
    assert found.notes == (f"{path}: kind=tokens was taken, since its labels are lists.",)


def test_text_with_a_label_for_each_character_is_cut_into_them(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"chain": ["DIQ", "EV"], "site": [["N", "P", "N"], ["N", "P"]]}).to_parquet(path)
    found = loaded(path, "text=chain,label=site")
    assert found.train == Words((("D", "I", "Q"), ("E", "V")), ((0, 1, 0), (0, 1)))
    assert f"{path}: 2 of its texts were cut into characters, having a label for each." in found.notes
    assert found.task.metrics == ("accuracy", "macro_f1")  # N and P mark no spans


@pytest.mark.parametrize(
    ("text", "keys", "sentence"),
    [
        ("", "kind=classes", "is empty; name another file"),
        ("text,label\n", "kind=classes", "has no rows; name another file"),
        ("text,label\nx,a\ny,b\n", "text=body,kind=classes", "no column 'body'.* of 'text', 'label'"),
        ("text;label\nx;a\ny;b\n", "text=body,kind=classes", "no column 'body'.* of 'text', 'label'"),
        ("text,text,label\nx,y,a\n", "kind=classes", "has 2 columns 'text'"),
        ("text,label\nx,a\n ,a\ny,b\n,b\n", "kind=classes", "no text in lines 3 and 5; mend or remove it"),
        ("text,label\nx,a\ny,\n", "kind=classes", "no label in line 3"),
        ("text,label\nx,a\ny,b,c\n", "kind=classes", "more columns than its first line in line 3"),
        ("text,label\nx,a\ny,a\n", "kind=classes", "a single class, 'a', .*label="),
        ("text,label\nx,1.5\ny,nan\nz,inf\n", "kind=number", r"no number \('nan'\) in lines 3 and 4; .*kind=classes"),
        ("text,label\nx,1.5\ny,1.5\n", "kind=number", "label 1.5 in every row"),
        ("text,label\nx,1\ny,2\nz,3\n", "text=text", "whole numbers for labels, 3 different .*kind=classes or kind=n"),
        ("text,label\nx,1\ny,2\nz,b\n", "text=text", "numbers and others that are none, such as 'b'"),
        ("text,label\nx,q\ny,r\nz,s\n", "text=text", "3 different labels in 3 rows"),
        ("text,label\nx,a\ny,b\n", "kind=classes,metric=f1", "f1 has to know which class .*metric=f1:CLASS.* a, b"),
        ("text,label\nx y,A B\nz,A\n", "kind=tokens,text=text,label=label,metric=span_f1", "label 'A', and span_f1"),
        ("text,label\nx y,A B\nz,A B\n", "kind=tokens,text=text,label=label", "as many labels as words in line 3"),
        ('text,label\n"x,a\ny,b\n', "kind=classes", "line 2 opens a quote"),
    ],
)
def test_table_that_cannot_be_used_says_what_is_wrong_and_where(
    tmp_path: Path, text: str, keys: str, sentence: str
) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=sentence) as refused:
        loaded(path, keys)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_class_that_only_dev_has_is_named_with_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\nx,a\ny,b\n")
    write(tmp_path / "dev-a.csv", "text,label\nx,a\ny,c\nz,c\n")
    with pytest.raises(InputError, match=r"dev-a\.csv has the class 'c' in lines 3 and 4, and .*a\.csv has no example"):
        loaded(path, "kind=classes")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n\xff,a\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        loaded(path, "kind=classes")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"cannot read .*b\.parquet"):
        loaded(tmp_path / "b.parquet", "kind=classes")
    pd.DataFrame({"text": [1, 2], "label": ["a", "b"]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(InputError, match="holds int and not text in row 1; name another column"):
        loaded(tmp_path / "c.parquet", "kind=classes")
    write(tmp_path / "d.jsonl", '{"text": "x", "label": "a"}\n[1]\n')
    with pytest.raises(InputError, match="line 2 is no JSON object"):
        loaded(tmp_path / "d.jsonl", "kind=classes")


def test_dev_texts_that_stand_in_train_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\nx,a\ny,b\n")
    write(tmp_path / "dev-a.csv", "text,label\nx,a\nz,b\n")
    assert "1 of the 2 dev texts of a stand in train too." in loaded(path, "kind=classes").notes
