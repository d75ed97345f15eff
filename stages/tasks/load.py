"""A task's data, read, checked and with a dev part; and what marks that data for a fingerprint."""

import numpy as np

from stages.errors import InputError
from stages.hub import Unreachable
from stages.storage import filesystem_of
from stages.tasks.classes import classes_of
from stages.tasks.examples import Examples, Labelled, Questions, Texts, Words
from stages.tasks.reading import conll, hub_set, squad, table
from stages.tasks.reading.judged import Judged, judged
from stages.tasks.split import dev_mask, what_is_kept
from stages.tasks.task import Files, Task

UNREACHABLE = "unreachable"


def load(task: Task, *, seed: int = 0) -> Labelled:
    """The task's examples; `seed` is of the cut, where it has no dev part.

    Raises `InputError` for what cannot be read or taught from: files, columns, rows without text or label, a single
    class, a class that dev has and train has not, labels that a metric cannot be made of.
    """
    classes: tuple[str, ...] = ()
    train: Examples
    dev: Examples | None
    if task.kind == "spans":
        train, dev = _questions(task, "train"), _questions(task, "dev") if _has_dev(task) else None
        notes: tuple[str, ...] = ()
    else:
        first, second = _judged(task, "train"), _judged(task, "dev") if _has_dev(task) else None
        if task.kind != "number":
            classes = classes_of(task, first, second)
        elif len(set(first.labels)) == 1:
            raise InputError(
                f"{first.cells.where} has the label {first.labels[0]:g} in every row, so that there is nothing to "
                "learn; name the column of numbers by label=…."
            )
        train, dev = _examples(task, first, classes), None if second is None else _examples(task, second, classes)
        notes = first.notes + (second.notes if second else ())
    if dev is None:
        train, dev, note = _cut(task, train, seed)
        notes += (note,)
    return Labelled(
        task=task, classes=classes, train=train, dev=dev, notes=task.notes + notes + _repeated(task, train, dev)
    )


def identity(task: Task) -> dict[str, str]:
    """What the outside world adds to a task's name, {part: version}: a change of it is a change of the data.

    Of a file its size and when it was written; of a data set its commit, or `UNREACHABLE` without a network, so that a
    run can still be described. Raises `InputError` for a file that is not there.
    """
    source = task.source
    if isinstance(source, Files):
        paths = {"train": source.train, "dev": source.dev} if source.dev else {"train": source.train}
        return {f"{part}/{path.rsplit('/', 1)[-1]}": mark_of(path) for part, path in paths.items()}
    try:
        commit = hub_set.commit(source)
    except Unreachable:
        commit = UNREACHABLE
    return {f"{source.name}/{source.train}": commit}


def mark_of(path: str) -> str:
    """A file's size and when it was written, in nanoseconds; raises `InputError` where it is not there."""
    from pyarrow.fs import FileType

    filesystem, inside = filesystem_of(path)
    try:
        about = filesystem.get_file_info(inside)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {str(error).splitlines()[0]}; check the address and your access."
        ) from error
    if about.type != FileType.File:
        raise InputError(f"{path} is {'a folder' if about.type == FileType.Directory else 'not there'}; name a file.")
    return f"{about.size}:{about.mtime_ns or 0}"


def _has_dev(task: Task) -> bool:
    return bool(task.source.dev)


def _part(task: Task, part: str) -> str:
    return task.source.train if part == "train" else task.source.dev


def _questions(task: Task, part: str) -> Questions:
    source = task.source
    return (
        squad.questions(_part(task, part))
        if isinstance(source, Files)
        else hub_set.questions(source, _part(task, part))
    )


def _judged(task: Task, part: str) -> Judged:
    source, name = task.source, _part(task, part)
    if not isinstance(source, Files):
        cells = hub_set.cells(source, name)
    else:
        cells = conll.cells(name, source) if source.layout == "conll" else table.cells(name, source)
    return judged(cells, task.kind, leave_out=task.standard)


def _examples(task: Task, rows: Judged, classes: tuple[str, ...]) -> Texts | Words:
    number = {name: place for place, name in enumerate(classes)}
    if task.kind == "tokens":
        return Words(rows.first, tuple(tuple(number[tag] for tag in tags) for tags in rows.labels))
    labels = (
        np.array(rows.labels, np.float64)
        if task.kind == "number"
        else np.array([number[name] for name in rows.labels], np.int64)
    )
    return Texts(rows.first, rows.second, labels)


def _cut(task: Task, whole: Examples, seed: int) -> tuple[Examples, Examples, str]:
    share = task.source.dev_share if isinstance(task.source, Files) else 0.2
    mask = dev_mask(whole, share, seed)
    if not mask.any() or mask.all():
        raise InputError(
            f"{_part(task, 'train')} has too little to cut a dev part off ({len(whole):,}); add rows, or name one "
            "by dev=FILE."
        )
    note = (
        f"{_part(task, 'train')} has no dev part: {int(mask.sum()):,} of its {len(whole):,} examples were cut off "
        f"for it (seed {seed}, {what_is_kept(whole)})."
    )
    return whole.take(np.flatnonzero(~mask)), whole.take(np.flatnonzero(mask)), note


def _repeated(task: Task, train: Examples, dev: Examples) -> tuple[str, ...]:
    """Whether dev asks for what train has told: said of a user's own data, where it may be a mistake."""
    if task.standard or not isinstance(train, Texts) or not isinstance(dev, Texts):
        return ()
    known = set(zip(train.first, train.second or train.first, strict=True))
    again = sum(pair in known for pair in zip(dev.first, dev.second or dev.first, strict=True))
    return (f"{again:,} of the {len(dev):,} dev texts of {task.name} stand in train too.",) if again else ()
