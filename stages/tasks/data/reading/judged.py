"""Cells to texts and labels by name: what is missing or of the wrong kind is refused with its rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.errors import InputError
from stages.tasks.data.reading.cells import Cells, named
from stages.tasks.task import Kind


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Rows that are whole; labels are names, numbers, or a name for each word."""

    cells: Cells
    first: tuple[Any, ...]
    """Texts, or tuples of words."""
    second: tuple[str, ...] | None
    labels: tuple[Any, ...]
    notes: tuple[str, ...] = ()


def judged(cells: Cells, kind: Kind, *, leave_out: bool) -> Judged:
    """The rows for a task of this kind.

    With `leave_out` those without text or label, or of another length than the rest, are left out and counted: GLUE's
    own files have some. Otherwise they are refused, as is everything of a wrong type.
    """
    missing = {
        "has no text": [_missing(one) for one in cells.text],
        "has no second text": [_missing(one) for one in cells.second or ()],
        "has no label": [_missing(one) for one in cells.label],
    }
    notes: tuple[str, ...] = ()
    if leave_out:
        gone = {place for flags in missing.values() for place, flag in enumerate(flags) if flag}
        lost = sorted([cells.numbers[place] for place in gone] + list(cells.broken))
        if lost:
            notes = (f"{cells.where}: {named(cells.unit, lost)} left out, being incomplete.",)
            cells = cells.those(lambda place: place not in gone)
    else:
        cells.refuse(cells.broken, "has fewer or more columns than its first line")
        for what, flags in missing.items():
            cells.refuse([cells.numbers[place] for place, flag in enumerate(flags) if flag], what)
    if not cells.numbers:
        raise InputError(f"{cells.where} has no rows; name another file.")
    if kind == "tokens":
        words, tags, characters = _words(cells)
        if characters:
            notes += (f"{cells.where}: {characters:,} of its texts were cut into characters, having a label for each.",)
        return Judged(cells=cells, first=words, second=None, labels=tags, notes=notes)
    first = _texts(cells, cells.text)
    second = None if cells.second is None else _texts(cells, cells.second)
    labels = tuple(_numbers(cells) if kind == "number" else _names(cells))
    return Judged(cells=cells, first=first, second=second, labels=labels, notes=notes)


def name_of(label: object) -> str | None:
    """A class's name: 1, 1.0 and "1" are one; None for what is no name (a list, an object)."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip() if isinstance(label, str | int | float) else None


def number_of(label: object) -> float | None:
    """A finite number, or None."""
    try:
        found = float(label)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _missing(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip()) or cell != cell or cell == []


def _texts(cells: Cells, column: Sequence[Any]) -> tuple[str, ...]:
    kinds = {type(one).__name__ for one in column} - {"str"}
    if kinds:
        wrong = next(place for place, one in enumerate(column) if not isinstance(one, str))
        hint = "; say kind=tokens for lists of words" if kinds == {"list"} else ""
        raise InputError(
            f"{cells.where} holds {kinds.pop()} and not text in {cells.unit} {cells.numbers[wrong]:,}; name another "
            f"column by text=…{hint}."
        )
    return tuple(column)


def _names(cells: Cells) -> list[str]:
    names = [name_of(label) for label in cells.label]
    wrong = [number for number, name in zip(cells.numbers, names, strict=True) if name is None]
    cells.refuse(wrong, "has a label that is a list or an object", "say kind=tokens, if it has one for each word")
    return [name for name in names if name is not None]


def _numbers(cells: Cells) -> list[float]:
    values = [number_of(label) for label in cells.label]
    wrong = [place for place, value in enumerate(values) if value is None]
    if wrong:
        cells.refuse(
            [cells.numbers[place] for place in wrong],
            f"has a label that is no number ({cells.label[wrong[0]]!r})",
            "mend or remove it, or say kind=classes",
        )
    return [value for value in values if value is not None]


def _words(cells: Cells) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...], int]:
    """(words, labels, how many texts are cut into characters). Cells are lists; or texts, which are cut at spaces, or,
    where there is none and a label for each character, into characters: a protein is written so."""
    words, labels, uneven, empty, characters = [], [], [], [], 0
    for number, text, label in zip(cells.numbers, cells.text, cells.label, strict=True):
        tags = label.split() if isinstance(label, str) else label
        if not isinstance(tags, list) or not isinstance(text, str | list):
            cells.refuse([number], "has no list of words with a list of as many labels")
        cut = text.split() if isinstance(text, str) else text
        if isinstance(text, str) and len(cut) == 1 and 1 < len(tags) == len(cut[0]):
            cut, characters = list(cut[0]), characters + 1
        if len(cut) != len(tags):
            uneven.append(number)
        if any(not isinstance(word, str) or not word.strip() for word in cut) or any(map(_missing, tags)):
            empty.append(number)
        words.append(tuple(cut))
        labels.append(tuple(name_of(tag) or "" for tag in tags))
    cells.refuse(uneven, "has not as many labels as words")
    cells.refuse(empty, "has a word that is empty or no text, or one without a label,")
    return tuple(words), tuple(labels), characters
