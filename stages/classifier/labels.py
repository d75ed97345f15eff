"""A task's classes under the numbers that a fine-tuned model has for them."""

import re
from dataclasses import dataclass, replace

import numpy as np

from stages.classifier.artifact import Classifier
from stages.errors import InputError
from stages.tasks.examples import Examples, Labelled, Texts, Words
from stages.tasks.scoring.confusion import positive_class
from stages.tasks.task import Kind

_SHOWN = 8
"""Classes in a message."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """A task's data with the model's numbers for labels."""

    labelled: Labelled
    guessed: bool
    """Whether classes were taken in their order, as the model does not know them by name."""


def matched(labelled: Labelled, labels: tuple[str, ...], *, words: bool, model: str) -> Matched:
    """`labelled` with each class under the number that it has among the model's `labels`; `words`: whether the model
    gives a class to every word.

    By name, or else, where the model has numbers for names (LABEL_0), in the order of the sorted classes. The model may
    know classes of which the task has no example. Raises `InputError` where the two are not about the same.
    """
    task, kind = labelled.task, labelled.task.kind
    _check_kind(kind, labels, words, task.name, model)
    if kind == "number":
        return Matched(labelled=labelled, guessed=False)
    numbers = _by_name(labelled.classes, labels)
    guessed = numbers is None and all(re.fullmatch(r"LABEL_\d+|\d+", label) for label in labels)
    if guessed and len(labels) == len(labelled.classes):
        numbers = list(range(len(labels)))
    if numbers is None:
        raise InputError(_strange(labelled.classes, labels, task.name, model))
    classes = list(labels)
    for name, number in zip(labelled.classes, numbers, strict=True):
        classes[number] = name
    notes = labelled.notes
    if guessed:
        order = ", ".join(f"{label} for {name}" for label, name in zip(labels, classes, strict=True))
        notes = (*notes, f"{model} does not name its classes: {order} was taken.")
    metrics = task.metrics
    if len(labels) > len(labelled.classes):  # f1 knows its class among two alone
        metrics = tuple(
            f"f1:{labelled.classes[positive_class(labelled.classes)]}" if metric == "f1" else metric
            for metric in metrics
        )
        absent = sorted(set(range(len(labels))) - set(numbers))
        unseen = _listed([labels[one] for one in absent])
        notes = (*notes, f"{task.name} has no example of {unseen}, which {model} has.")
    return Matched(
        labelled=Labelled(
            task=replace(task, metrics=metrics),
            classes=tuple(classes),
            train=_renumbered(labelled.train, numbers),
            dev=_renumbered(labelled.dev, numbers),
            notes=notes,
        ),
        guessed=guessed,
    )


def matched_to(labelled: Labelled, teacher: Classifier) -> Matched:
    """The same with a model that was fetched."""
    return matched(labelled, teacher.labels, words=teacher.words, model=teacher.name)


def _check_kind(kind: Kind, labels: tuple[str, ...], words: bool, task: str, model: str) -> None:
    if kind == "spans":
        raise InputError(
            f"task {task} asks for answers within texts, which is not made smaller here; `distil evaluate` fine-tunes "
            "a run's models on it."
        )
    if words != (kind == "tokens"):
        has, wants = ("every word", "a whole text") if words else ("a whole text", "every word")
        raise InputError(
            f"teacher.model {model} gives a class to {has} and task {task} has one for {wants}; name the model that "
            "was fine-tuned for it."
        )
    if (len(labels) == 1) != (kind == "number"):
        has, wants = ("a number", "classes") if len(labels) == 1 else (f"{len(labels)} classes", "a number")
        raise InputError(
            f"teacher.model {model} predicts {has} and task {task} has {wants} to predict; say kind= if it was guessed "
            "wrongly, or name the model that was fine-tuned for it."
        )


def _by_name(classes: tuple[str, ...], labels: tuple[str, ...]) -> list[int] | None:
    """The number of each class among the model's; None where one is not there. Capitals count where it needs them."""
    for read in (str, str.casefold):
        names = [read(label.strip()) for label in labels]
        wanted = [read(name) for name in classes]
        if len(set(names)) == len(names) and len(set(wanted)) == len(wanted) and set(wanted) <= set(names):
            return [names.index(name) for name in wanted]
    return None


def _strange(classes: tuple[str, ...], labels: tuple[str, ...], task: str, model: str) -> str:
    known = {label.casefold() for label in labels}
    strange = [name for name in classes if name.casefold() not in known]
    return (
        f"task {task} has the classes {_listed(list(classes))}, and teacher.model {model} the {len(labels)} classes "
        f"{_listed(list(labels))}: it does not know {_listed(strange)}; name them alike, by id2label in its "
        "config.json or in the file, or another column by label=."
    )


def _renumbered(examples: Examples, numbers: list[int]) -> Examples:
    if isinstance(examples, Words):
        return replace(examples, labels=tuple(tuple(numbers[tag] for tag in tags) for tags in examples.labels))
    assert isinstance(examples, Texts), "a classifier answers no questions"
    return Texts(examples.first, examples.second, np.asarray(numbers, np.int64)[examples.labels.astype(np.int64)])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
