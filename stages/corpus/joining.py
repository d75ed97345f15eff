"""Rows that are sentences or lines, put together into documents."""

from collections.abc import Iterable, Iterator


def joined(rows: Iterable[tuple[int, str]], characters: int) -> Iterator[str]:
    """Consecutive rows, each with the unit of its file that it is in, as documents: one ends with the row by which it
    has `characters`, or with its unit, so that the last of a unit may be short. Rows without text are nothing.

    It begins anew with every unit, and a unit is what a file is split at: so the documents are the same however many
    tasks read the file.
    """
    held: list[str] = []
    length, within = 0, None
    for unit, row in rows:
        if held and unit != within:
            yield " ".join(held)
            held, length = [], 0
        within = unit
        if not (text := row.strip()):
            continue
        held.append(text)
        length += len(text) + (len(held) > 1)
        if length >= characters:
            yield " ".join(held)
            held, length = [], 0
    if held:
        yield " ".join(held)
