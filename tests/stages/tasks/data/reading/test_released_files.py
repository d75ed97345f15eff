"""Tasks in the files of their own releases: GLUE's lines, SQuAD's JSON, CoNLL's columns."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.errors import InputError
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.tasks.data.standard import STANDARD
from stages.tasks.examples import Texts, Words


def release(folder: Path, train: str, dev: str = "", name: str = "dev.tsv") -> Path:
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text(train, encoding="utf-8")
    (folder / name).write_text(dev or train, encoding="utf-8")
    return folder


def test_cola_has_no_header_and_quotes_are_plain(tmp_path: Path) -> None:
    folder = release(tmp_path / "CoLA", 'gj04\t1\t\t"Who sang?\ngj04\t0\t*\tSang who ""who.\n')
    for task in (task_of(f"cola:data={folder}"), task_of(f"cola:data={tmp_path}"), task_of("cola", str(tmp_path))):
        found = load(task)
        assert isinstance(found.train, Texts)
        assert found.train.first == ('"Who sang?', 'Sang who ""who.')
        assert [found.classes[label] for label in found.train.labels] == ["1", "0"]
        assert (task.metrics, found.notes) == (("mcc",), ())


@pytest.mark.parametrize(
    ("name", "folder", "header", "row", "dev"),
    [
        ("mrpc", "MRPC", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t5\t6\tone\ttwo", "dev.tsv"),
        ("qqp", "QQP", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "3\t5\t6\tone\ttwo\t1", "dev.tsv"),
        ("qnli", "QNLI", "index\tquestion\tsentence\tlabel", "3\tone\ttwo\t1", "dev.tsv"),
        ("wnli", "WNLI", "index\tsentence1\tsentence2\tlabel", "3\tone\ttwo\t1", "dev.tsv"),
        ("mnli", "MNLI", "index\tsentence1\tsentence2\tlabel1\tgold_label", "3\tone\ttwo\t0\t1", "dev_matched.tsv"),
    ],
)
def test_pairs_of_glue_stand_in_their_own_columns(
    tmp_path: Path, name: str, folder: str, header: str, row: str, dev: str
) -> None:
    other = row[:-1] + "0" if row.endswith("1") else "0" + row[1:]
    release(tmp_path / folder, "\n".join([header, row, other, ""]), name=dev)
    found = load(task_of(name, str(tmp_path)))
    assert isinstance(found.train, Texts)
    assert (found.train.first, found.train.second) == (("one", "one"), ("two", "two"))
    assert [found.classes[label] for label in found.train.labels] == ["1", "0"]


def test_scores_of_stsb_are_numbers(tmp_path: Path) -> None:
    release(tmp_path / "STS-B", "index\tsentence1\tsentence2\tscore\n0\ta\tb\t4.750\n1\tc\td\t5.000\n")
    assert load(task_of("stsb", str(tmp_path))).train.labels.tolist() == [4.75, 5.0]  # type: ignore[union-attr]


def test_broken_rows_of_a_release_are_left_out_and_counted(tmp_path: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    whole = f"{header}\n1\t1\t2\twhy?\thow?\t0\n2\t3\t4\twhat?\twho?\t1\n"
    release(tmp_path / "QQP", whole + "3\t4\t5\tcut\n4\t5\t6\t\twho?\t1\n", whole)
    found = load(task_of("qqp", str(tmp_path)))
    assert len(found.train) == 2
    assert found.notes == (f"{tmp_path}/QQP/train.tsv: lines 4 and 5 left out, being incomplete.",)


def test_release_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no SST-2/train\.tsv; name the folder"):
        task_of("sst2", str(tmp_path))
    release(tmp_path / "SST-2", "sentence\tlabel\na\t0\n").joinpath("dev.tsv").unlink()
    with pytest.raises(InputError, match=r"dev\.tsv is not there"):
        task_of("sst2", str(tmp_path))
    with pytest.raises(InputError, match="imdb is read from the hub"):
        task_of(f"imdb:data={tmp_path}")


def test_every_standard_tasks_metrics_are_of_its_kind() -> None:
    for one in STANDARD:
        assert task_of(one.name + ":metric=" + "+".join(one.metrics)).metrics == one.metrics
    assert len({one.name for one in STANDARD}) == len(STANDARD) == 12


def squad(path: Path, *paragraphs: tuple[str, list[dict[str, Any]]]) -> Path:
    blocks = [{"context": context, "qas": asked} for context, asked in paragraphs]
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": blocks}]}))
    return path


def asked(name: str, answer: str, start: int) -> dict[str, Any]:
    return {"id": name, "question": f"{name}?", "answers": [{"text": answer, "answer_start": start}] * 2}


def test_squads_layout_is_read_and_guessed(tmp_path: Path) -> None:
    path = squad(tmp_path / "x.json", ("Ada wrote.", [asked("a", "Ada", 0)]), ("So it was.", [asked("b", "it", 3)]))
    found = load(task_of(f"{path}:dev={squad(tmp_path / 'y.json', ('Ada wrote.', [asked('c', 'wrote', 4)]))}"))
    assert (found.train.ids, found.train.questions) == (("a", "b"), ("a?", "b?"))  # type: ignore[union-attr]
    assert found.train.answers == ((("Ada", 0), ("Ada", 0)), (("it", 3), ("it", 3)))  # type: ignore[union-attr]
    assert found.dev.contexts == ("Ada wrote.",)  # type: ignore[union-attr]
    assert found.notes == (f"{path}: kind=spans was taken, since it has SQuAD's layout.",)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (asked("a", "Ada", 1), "an answer that does not stand in the context at its answer_start: a; mend"),
        ({"id": "a", "question": "a?", "answers": []}, "without an answer: a; remove them"),
        ({"id": "a", "question": " ", "answers": [{"text": "Ada", "answer_start": 0}]}, "without a text: a"),
        ({"id": "a", "answers": []}, "has not SQuAD's layout .*KeyError 'question'"),
        (asked("b", "Ada", 0), "1 ids of questions twice"),
    ],
)
def test_question_that_cannot_be_used_is_named(tmp_path: Path, question: dict[str, Any], sentence: str) -> None:
    path = squad(tmp_path / "x.json", ("Ada wrote.", [asked("b", "Ada", 0), question]))
    with pytest.raises(InputError, match=sentence):
        load(task_of(f"{path}:kind=spans"))


def test_file_that_is_no_squad_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, sentence in (("{", "is not JSON"), ("[1]", "has not SQuAD's layout"), ('{"data": []}', "no questions")):
        path.write_text(text)
        with pytest.raises(InputError, match=sentence):
            load(task_of(f"{path}:kind=spans"))


CONLL = "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\n# SYM O O\n\n"


def test_conlls_columns_are_sentences_of_words_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "eng.train"
    for file in (path, path.with_name("eng.testa")):
        file.write_text(CONLL)
    dev = f"dev={path.with_name('eng.testa')}"
    assert load(task_of("conll2003", str(tmp_path))).train == load(task_of(f"{path}:kind=tokens,{dev}")).train
    for keys in ("kind=tokens", "kind=tokens,text=0,label=3"):
        found = load(task_of(f"{path}:{keys},{dev}"))
        assert found.train == Words((("EU", "rejects"), ("#",)), ((0, 1), (1,)))
        assert (found.classes, found.task.metrics) == (("B-ORG", "O"), ("span_f1",))
    phrases = load(task_of(f"{path}:kind=tokens,label=2,{dev}"))
    assert phrases.classes == ("I-NP", "I-VP", "O")


def test_conll_u_between_tabs_without_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("# sent_id = 1\n1\tNew York\tPROPN\n2\tsleeps\tVERB\n\n# text = So\n1\tSo\tADV\n")
    path.with_name("b.conll").write_bytes(path.read_bytes())
    found = load(task_of(f"{path}:text=1,dev={path.with_name('b.conll')}"))
    assert found.train.words == (("New York", "sleeps"), ("So",))  # type: ignore[union-attr]
    assert found.task.metrics == ("accuracy", "macro_f1")


def test_conll_with_uneven_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    for text, sentence in (
        ("EU B-ORG\nrejects\n", "line 2 has 1 columns and the first word's line 2"),
        ("EU\n", "line 1 has a word and no class"),
        ("\n\n", "has no words"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=sentence):
            load(task_of(str(path)))
