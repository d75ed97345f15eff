"""What stands in a task's columns, as it was read and not yet judged; and how rows are named to a person."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.errors import InputError

NAMED = 5
"""Row numbers that a sentence lists; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Columns of a file or of a split, equally long."""

    where: str
    """The file or data set, for a person."""
    unit: str
    """What `numbers` count: "line" or "row"."""
    numbers: Sequence[int]
    """(rows,) from 1; a row of several lines has its first one's."""
    text: Sequence[Any]
    second: Sequence[Any] | None
    label: Sequence[Any]
    broken: Sequence[int] = ()
    """Numbers of rows of another length than the rest, of which no cell can be trusted."""

    def refuse(self, wrong: Sequence[int], what: str, remedy: str = "mend or remove it") -> None:
        """Raise `InputError` if there are any of these numbers: "FILE WHAT in lines 3, 17 and 2 more; REMEDY."."""
        if wrong:
            raise InputError(f"{self.where} {what} in {named(self.unit, wrong)}; {remedy}.")

    def those(self, right: Callable[[int], bool]) -> "Cells":
        """The rows at those places (from 0) alone."""
        kept = [place for place in range(len(self.numbers)) if right(place)]
        return Cells(
            where=self.where,
            unit=self.unit,
            numbers=[self.numbers[place] for place in kept],
            text=[self.text[place] for place in kept],
            second=None if self.second is None else [self.second[place] for place in kept],
            label=[self.label[place] for place in kept],
        )


def named(unit: str, numbers: Sequence[int]) -> str:
    """ "line 3", "lines 3 and 17", "lines 1, 2, 3, 4, 5 and 12 more"."""
    shown = [f"{number:,}" for number in numbers[:NAMED]]
    if len(numbers) == 1:
        return f"{unit} {shown[0]}"
    last = f"{len(numbers) - NAMED:,} more" if len(numbers) > NAMED else shown.pop()
    return f"{unit}s {', '.join(shown)} and {last}"


def places(header: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """Where the columns stand in a header; `InputError` for one that is not there, or twice, with those that are."""
    for column in wanted:
        if column not in header:
            there = ", ".join(repr(name) for name in header[:20]) or "none"
            raise InputError(f"{where} has no column {column!r}; name those to read, text=… and label=…, of {there}.")
        if header.count(column) > 1:
            raise InputError(f"{where} has {header.count(column)} columns {column!r}; rename all but one.")
    return [header.index(column) for column in wanted]


def numbered_places(wanted: Sequence[str], columns: int, where: str) -> list[int]:
    """The same where columns have no names but places from 0, or from -1 backwards."""
    found = []
    for column in wanted:
        if not column.removeprefix("-").isdecimal() or not -columns <= int(column) < columns:
            raise InputError(
                f"{where} has {columns} columns without names: text and label are places from 0 to {columns - 1} "
                f"(-1 is the last), and not {column!r}."
            )
        found.append(int(column) % columns)
    return found
