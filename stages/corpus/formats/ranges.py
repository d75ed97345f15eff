"""Part of a file, by bytes, so that several tasks can read one; and in which stretch of its file a row lies.

A row belongs to the part in which it begins: a line by its first byte, a row group of Parquet by where it is stored. So
parts that lie end to end give every row once, whatever their sizes. `unit_of` depends on a row's place in its file
alone, and on no part: what is put together within a unit is the same however the file is split.
"""

from dataclasses import dataclass

UNIT_BYTES = 1 << 22
"""Of a file: rows that begin within the same 4 MiB of it, counted from its start, may be joined to a document. Another
value would make other documents of the same file."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The bytes from `start` to before `end`; None: to the end of the file."""

    start: int = 0
    end: int | None = None

    def has(self, place: int) -> bool:
        """Whether what begins at byte `place` belongs here."""
        return self.start <= place and (self.end is None or place < self.end)


WHOLE = Range()


def unit_of(place: int) -> int:
    """Number of the unit that byte `place` of a file lies in."""
    return place // UNIT_BYTES


def ranges(size: int, step: int) -> list[Range]:
    """A file of `size` bytes in parts of `step` bytes, rounded up to whole units; one that is no longer is whole."""
    step = -(-step // UNIT_BYTES) * UNIT_BYTES
    if size <= step:
        return [WHOLE]
    starts = range(0, size, step)
    return [Range(start=start, end=start + step if start + step < size else None) for start in starts]
