"""A task's data, read, checked and with a dev part; and what marks that data for a fingerprint."""

from dataclasses import replace

import numpy as np

from stages.errors import InputError
from stages.hub import Unreachable
from stages.storage import filesystem_of
from stages.tasks.data.classes import classes_of
from stages.tasks.data.reading import conll, hub_set, squad, table
from stages.tasks.data.reading.judged import Judged, judged
from stages.tasks.data.split import dev_mask, what_is_kept
from stages.tasks.examples import Examples, Labelled, Questions, Texts, Words
from stages.tasks.task import Files, HubSet, Task

UNREACHABLE = "unreachable"
_Parts = tuple[tuple[str, ...], Examples, Examples | None, tuple[str, ...]]
"""(classes, train, dev, notes)."""


def load(task: Task, *, seed: int = 0) -> Labelled:
    """The task's examples; `seed` is of the cut, where it has no dev part.

    Raises `InputError` for what cannot be read or taught from: files, columns, rows without text or label, a single
    class, a class that dev has and train has not, labels that a metric cannot be made of.
    """
    read = _questions if task.kind == "spans" else _rows
    classes, train, dev, notes = read(task, _at_one_commit(task.source))
    if dev is None:
        train, dev, note = _cut(task, train, seed)
        notes += (note,)
    notes = task.notes + notes + _repeated(task, train, dev)
    return Labelled(task=task, classes=classes, train=train, dev=dev, notes=notes)


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


def _at_one_commit(source: Files | HubSet) -> Files | HubSet:
    """So that train and dev are of the same one, though the branch may move in between."""
    return replace(source, revision=hub_set.commit(source)) if isinstance(source, HubSet) else source


def _questions(_: Task, source: Files | HubSet) -> _Parts:
    def read(part: str) -> Questions:
        """Of a file, or of the data set's split of that name."""
        return squad.questions(part) if isinstance(source, Files) else hub_set.questions(source, part)

    return (), read(source.train), read(source.dev) if source.dev else None, ()


def _rows(task: Task, source: Files | HubSet) -> _Parts:
    def read(part: str) -> Judged:
        """Of a file, or of the data set's split of that name."""
        if isinstance(source, HubSet):
            cells = hub_set.cells(source, part)
        else:
            cells = conll.cells(part, source) if source.layout == "conll" else table.cells(part, source)
        return judged(cells, task.kind, leave_out=task.standard)

    train, dev = read(source.train), read(source.dev) if source.dev else None
    if task.kind == "number" and len(set(train.labels)) == 1:
        raise InputError(
            f"{train.cells.where} has the label {train.labels[0]:g} in every row, so that there is nothing to learn; "
            "name the column of numbers by label=…."
        )
    classes = () if task.kind == "number" else classes_of(task, train, dev)
    if dev is None:
        return classes, _examples(task, train, classes), None, train.notes
    return classes, _examples(task, train, classes), _examples(task, dev, classes), train.notes + dev.notes


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
    share = task.source.dev_share if isinstance(task.source, Files) else Files.dev_share
    mask = dev_mask(whole, share, seed)
    if not mask.any() or mask.all():
        raise InputError(
            f"{task.source.train} has too little to cut a dev part off ({len(whole):,}); add rows, or name one "
            "by dev=FILE."
        )
    note = (
        f"{task.source.train} has no dev part: {int(mask.sum()):,} of its {len(whole):,} examples were cut off "
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
