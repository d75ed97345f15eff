"""How tasks are named, and what is said of a name that is wrong."""

import os
from pathlib import Path

import pytest

from stages.errors import InputError
from stages.tasks.data.load import identity, load
from stages.tasks.data.specs import task_of
from stages.tasks.task import Columns, Files, HubSet


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten rows of two classes, in a folder with awkward names."""
    path = tmp_path / "a: b, c" / "my.intents.csv"
    path.parent.mkdir()
    path.write_text("question,intent\n" + "".join(f"text {n},{'yn'[n % 2]}\n" for n in range(10)))
    return path


def escaped(path: Path) -> str:
    return str(path).replace(",", "\\,")


def test_name_of_a_standard_task_is_its_data_set_on_the_hub() -> None:
    task = task_of("mnli")
    assert isinstance(task.source, HubSet)
    assert (task.source.name, task.source.dev) == ("nyu-mll/glue", "mnli/validation_matched-*")
    assert task_of("sst2:revision=abc,name=again,metric=mcc+accuracy").metrics == ("mcc", "accuracy")
    assert task_of("sst2:name=again").name == "again"
    assert task_of("imdb", "some/folder").source == task_of("imdb").source  # its release has no files that are read


def test_file_is_named_with_its_columns(table: Path) -> None:
    task = task_of(f"{table}:text=question,label=intent,name=mine,metric=f1:y+accuracy,dev_share=0.4")
    expected = Files(train=str(table), dev_share=0.4, columns=Columns(text="question", label="intent"))
    assert (task.name, task.kind, task.metrics, task.source) == ("mine", "classes", ("f1:y", "accuracy"), expected)
    found = load(task, seed=3)
    assert (len(found.train), len(found.dev)) == (6, 4)
    assert found.notes[-1] == (f"{table} has no dev part: 4 of its 10 examples were cut off for it (seed 3, by class).")
    dev = table.with_name("dev.csv")
    dev.write_bytes(table.read_bytes())
    both = task_of(f"{table}:text=question,label=intent,dev={escaped(dev)},kind=classes")
    assert isinstance(both.source, Files)
    assert (both.source.dev, both.name, both.notes) == (str(dev), "my.intents", ())


def test_cut_is_the_same_for_the_same_seed(table: Path) -> None:
    task = task_of(f"{table}:text=question,label=intent")
    texts = [load(task, seed=seed).dev.first for seed in (0, 0, 1, 2)]  # type: ignore[union-attr]
    assert texts[0] == texts[1]
    assert len({*texts}) > 1


def test_plus_in_a_columns_name_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("c++,label\nx,a\ny,b\n")
    task = task_of(f"{path}:text=c\\+\\+")
    assert isinstance(task.source, Files)
    assert task.source.columns == Columns(text="c++", label="label")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("", "empty"),
        ("sst", r"no task 'sst' \(did you mean sst2\?\); there are cola, sst2"),
        ("SST2", r"did you mean sst2\?"),
        ("nowhere.csv:text=a,label=b", r"nowhere\.csv is not there; name a file"),
        ("sst2:text=sentence", "text= is not known here.*there are data, revision"),
        ("sst2:data=x,revision=y", "leave one out"),
        ("TABLE:txt=question", r"txt= is not known here \(did you mean text\?\)"),
        ("TABLE:text=question,text=intent", "says text= twice"),
        ("TABLE:text=question,intent", r"'intent' is no key=value; a comma within a value is \\,"),
        ("TABLE:kind=class", r"kind=class is not known \(did you mean classes\?\); say classes or number or tokens"),
        ("TABLE:kind=classes,metric=acuracy", r"no metric of kind=classes \(did you mean accuracy\?\)"),
        ("TABLE:kind=classes,metric=mcc:y", "'mcc:y' is no metric"),
        ("TABLE:kind=classes,dev_share=0.6", "dev_share=0.6 must be a share above 0, 0.5 at most"),
        ("TABLE:kind=classes,dev_share=0.2,dev=x.csv", "leave one out"),
        ("TABLE:kind=classes,dev=TABLE", "one file for train and dev"),
        ("TABLE:kind=classes,dev=x.csv", r"x\.csv is not there"),
        ("TABLE:kind=classes,text=a+b+c", "one column, or for a pair two"),
        ("TABLE:kind=classes,header=maybe", "say yes or no"),
        ("TABLE:kind=spans,text=a", "SQuAD's layout has names of its own; leave text= out"),
        ("FOLDER:kind=classes", "is a folder; name a file"),
        ("OTHER:text=a,label=b", "is none of .csv, .tsv"),
        ("OTHER:kind=tokens,quotes=no", r"quotes= is said of \.csv and \.tsv alone"),
    ],
)
def test_name_that_is_wrong_says_what_and_what_else(tmp_path: Path, table: Path, spec: str, sentence: str) -> None:
    other = tmp_path / "words.txt"
    other.write_text("EU B-ORG\n")
    for word, path in (("TABLE", table), ("FOLDER", tmp_path / "a: b, c"), ("OTHER", other)):
        spec = spec.replace(f"dev={word}", f"dev={escaped(path)}").replace(word, str(path))
    with pytest.raises(InputError, match=sentence) as refused:
        task_of(spec)
    assert "\n" not in str(refused.value)


def test_too_few_rows_for_a_dev_part_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\nx,a\ny,b\n")
    with pytest.raises(InputError, match=r"too little to cut a dev part off \(2\); .*dev=FILE"):
        load(task_of(f"{path}:kind=classes"))


def test_identity_is_of_the_files_as_they_are(table: Path) -> None:
    task = task_of(f"{table}:text=question,label=intent")
    before = identity(task)
    assert list(before) == ["train/my.intents.csv"]
    os.utime(table, ns=(1, 1))
    assert identity(task) != before
    table.unlink()
    with pytest.raises(InputError, match="is not there"):
        identity(task)
