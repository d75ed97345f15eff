"""Which classes a task has, and whether they can be learned and scored."""

from collections.abc import Iterable
from itertools import chain

from stages.errors import InputError
from stages.tasks.data.reading.cells import named
from stages.tasks.data.reading.judged import Judged, number_of
from stages.tasks.scoring.confusion import positive_class
from stages.tasks.scoring.spans import marks_spans
from stages.tasks.task import Task


def _names(rows: Judged, task: Task) -> Iterable[str]:
    return chain.from_iterable(rows.labels) if task.kind == "tokens" else rows.labels


def classes_of(task: Task, train: Judged, dev: Judged | None) -> tuple[str, ...]:
    """The classes of train, sorted, numbers as numbers; refused where they cannot be learned, or scored."""
    found = set(_names(train, task))
    if len(found) == 1:
        raise InputError(
            f"{train.cells.where} has a single class, {found.pop()!r}, so that there is nothing to learn; name the "
            "column of classes by label=…, or add rows of another class."
        )
    if dev is not None and (strange := sorted(set(_names(dev, task)) - found)):
        rows = [
            number
            for number, label in zip(dev.cells.numbers, dev.labels, strict=True)
            if strange[0] in (label if task.kind == "tokens" else [label])
        ]
        raise InputError(
            f"{dev.cells.where} has the class {strange[0]!r} in {named(dev.cells.unit, rows)}, and "
            f"{train.cells.where} has no example of it; remove those rows, or add some to train."
        )
    classes = _sorted(found)
    for metric in task.metrics:
        name, _, positive = metric.partition(":")
        if name == "span_f1" and not all(map(marks_spans, classes)):
            wrong = next(tag for tag in classes if not marks_spans(tag))
            raise InputError(
                f"{train.cells.where} has the label {wrong!r}, and span_f1 is made of O, B-… and I-…; "
                "say metric=accuracy."
            )
        if name == "f1":
            try:
                positive_class(classes, positive)
            except ValueError:
                raise InputError(
                    f"{train.cells.where}: f1 has to know which class is looked for; say metric=f1:CLASS, CLASS being "
                    f"one of {', '.join(classes[:20])}, or metric=macro_f1."
                ) from None
    return classes


def _sorted(names: set[str]) -> tuple[str, ...]:
    values = {name: number_of(name) for name in names}
    if None in values.values():
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (values[name], name)))
