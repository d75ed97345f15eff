"""One input file to its documents' raw text, as a stream: memory does not grow with the file.

`.txt` (a document a line, or one a file), `.jsonl`, `.json`, `.csv` and `.tsv` (a document a row), each plain, `.gz` or
`.zst`, and `.parquet`. Text is UTF-8: anything else is an error that names the file and the byte, never a guess.

A file whose bytes can be read and not be understood is `Damaged`; one that cannot be reached, or has no such column, is
not, and is never passed over.
"""

from collections.abc import Iterator
from typing import Literal

from stages.corpus.formats import csv_rows, json_rows, tables
from stages.corpus.formats.damage import UNREAD, Damaged, unread
from stages.corpus.formats.ranges import WHOLE, Range
from stages.corpus.formats.text import lines, pieces
from stages.errors import InputError

__all__ = [
    "BESIDE",
    "COMPRESSIONS",
    "FORMATS",
    "Damaged",
    "can_be_split",
    "check_table",
    "documents",
    "format_of",
    "rows",
]

FORMATS = (".txt", ".jsonl", ".csv", ".parquet", ".tsv", ".json", ".ndjson")
BESIDE = (".tsv", ".json", ".ndjson")
"""Of these, the ones that a folder means only where it has none of the others: beside them they mostly say something
about the data."""
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


def format_of(name: str) -> tuple[str, str | None]:
    """(one of `FORMATS`, the compression's name in pyarrow) from a file's name; `InputError` for any other."""
    bare = name.partition("?")[0] if "://" in name else name
    stem, dot, last = bare.rpartition(".")
    compression = COMPRESSIONS.get(f"{dot}{last.lower()}")
    suffix = "." + (stem.rpartition(".")[2] if compression else last).lower()
    if suffix not in FORMATS or (compression and suffix == ".parquet"):
        raise InputError(
            f"{name} is none of {', '.join(FORMATS)} (all but .parquet also with .gz or .zst); "
            "convert it, or narrow corpus.paths."
        )
    return suffix, compression


def rows(
    uri: str, column: str, per: Literal["line", "file"], delimiter: str | None = None, part: Range = WHOLE
) -> Iterator[tuple[int, str]]:
    """(its unit, raw text) of the rows of a file that begin in `part`, in order: see `formats/ranges.py`. Only what
    `can_be_split` has parts. `per` bears on .txt alone, `column` on all others, `delimiter` on .csv and .tsv.

    Raises `Damaged` for content that cannot be understood, text that is not UTF-8 included; `InputError` for a table
    without the column, and a file that cannot be reached.
    """
    suffix, compression = format_of(uri)
    try:
        if suffix == ".parquet":
            yield from tables.texts(uri, column, part)
        elif suffix in (".jsonl", ".ndjson"):
            yield from json_rows.texts(json_rows.in_lines(uri, compression, part), column, uri, part)
        elif suffix == ".json":
            yield from json_rows.texts(json_rows.in_sequence(uri, compression), column, uri)
        elif suffix in (".csv", ".tsv"):
            usual = "\t" if suffix == ".tsv" else None
            yield from ((0, text) for text in csv_rows.texts(uri, compression, column, delimiter or usual))
        elif per == "file":
            yield 0, "".join(piece for _, piece in pieces(uri, compression))
        else:
            yield from lines(uri, compression, part)
    except UNREAD as error:
        raise unread(uri, error) from error


def documents(uri: str, column: str, per: Literal["line", "file"], delimiter: str | None = None) -> Iterator[str]:
    """The raw text of all rows of a file, in order; raises as `rows` does."""
    for _, text in rows(uri, column, per, delimiter):
        yield text


def can_be_split(uri: str, per: Literal["line", "file"]) -> bool:
    """Whether `rows` can begin in the middle of a file: not where bytes are compressed as one stream, and not where a
    row may hold a line end, within quotes (CSV) or a value (.json)."""
    suffix, compression = format_of(uri)
    return compression is None and (suffix in (".parquet", ".jsonl", ".ndjson") or (suffix, per) == (".txt", "line"))


def check_table(uri: str, column: str, delimiter: str | None = None) -> None:
    """Read what tells most of a table for the least: a Parquet file's footer, which one that was cut short has not,
    and another table's first row with text. Raises as `documents` does."""
    if format_of(uri)[0] != ".parquet":
        next(documents(uri, column, "line", delimiter), None)
        return
    try:
        with tables.table(uri, column):
            return
    except UNREAD as error:
        raise unread(uri, error) from error
