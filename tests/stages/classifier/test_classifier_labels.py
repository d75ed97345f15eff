"""A task's classes under a model's numbers: by name, by order where there are no names, or not at all."""

from pathlib import Path

import numpy as np
import pytest

from stages.classifier.labels import Matched, matched
from stages.errors import InputError
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.tasks.examples import Texts, Words

ROWS = [("one", "pos"), ("two", "neg"), ("three", "neutral"), ("four", "pos"), ("five", "neg"), ("six", "neutral")] * 4


def match(folder: Path, labels: tuple[str, ...], rows: list[tuple[str, str]] = ROWS, keys: str = "") -> Matched:
    file = folder / "mine.csv"
    file.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return matched(load(task_of(f"{file}:kind=classes{keys}")), labels, words=False, model="theirs")


def named(found: Matched) -> dict[str, str]:
    """Each text with its class by the name that the matched data has for its number."""
    train = found.labelled.train
    assert isinstance(train, Texts)
    return {text: found.labelled.classes[int(n)] for text, n in zip(train.first, train.labels, strict=True)}


@pytest.mark.parametrize("labels", [("neg", "neutral", "pos"), ("pos", "neg", "neutral"), ("POS", "Neutral", "Neg")])
def test_matched_by_name_whatever_the_order_and_the_capitals(tmp_path: Path, labels: tuple[str, ...]) -> None:
    found = match(tmp_path, labels)
    assert not found.guessed
    assert [name.lower() for name in labels] == list(found.labelled.classes)
    assert named(found) == dict(ROWS)


def test_matched_a_model_without_names_has_the_sorted_classes_and_that_is_said(tmp_path: Path) -> None:
    found = match(tmp_path, ("LABEL_0", "LABEL_1", "LABEL_2"))
    assert found.guessed
    assert found.labelled.classes == ("neg", "neutral", "pos")
    assert "LABEL_0 for neg, LABEL_1 for neutral, LABEL_2 for pos was taken" in found.labelled.notes[-1]
    assert named(found) == dict(ROWS)


def test_matched_a_class_that_the_task_has_no_example_of_is_the_models_own(tmp_path: Path) -> None:
    rows = [(text, str(int(label == "pos"))) for text, label in ROWS]
    found = match(tmp_path, ("2", "1", "0"), rows, ",metric=f1")
    assert found.labelled.classes == ("2", "1", "0")
    assert found.labelled.task.metrics == ("f1:1",)
    assert named(found) == dict(rows)
    assert "has no example of 2, which theirs has" in found.labelled.notes[-1]


def test_matched_what_is_not_about_the_same_is_refused(tmp_path: Path) -> None:
    for labels, sentence in (
        (("good", "bad", "neutral"), "it does not know neg, pos"),
        (("LABEL_0", "LABEL_1"), "it does not know neg, neutral, pos"),
        (("score",), "predicts a number and task mine has classes"),
    ):
        with pytest.raises(InputError, match=sentence):
            match(tmp_path, labels)
    (tmp_path / "tags.conll").write_text("\n\n".join(f"w{i} O\nv{i} B-x" for i in range(12)))
    tags = load(task_of(f"{tmp_path}/tags.conll"))
    with pytest.raises(InputError, match="gives a class to a whole text and task tags has one for every word"):
        matched(tags, ("O", "B-x"), words=False, model="theirs")
    found = matched(tags, ("O", "B-x"), words=True, model="theirs").labelled
    assert isinstance(found.train, Words)
    assert set(found.train.labels) == {(0, 1)}


def test_matched_numbers_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("text,label\n" + "".join(f"w{i},{i / 8}\n" for i in range(20)))
    labelled = load(task_of(f"{tmp_path}/n.csv"))
    found = matched(labelled, ("LABEL_0",), words=False, model="theirs").labelled
    assert isinstance(found.dev, Texts)
    np.testing.assert_array_equal(found.dev.labels, labelled.dev.labels)  # type: ignore[union-attr]
