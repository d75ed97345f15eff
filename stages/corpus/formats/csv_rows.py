"""CSV: rows by a header, and every way in which text could be lost without a word."""

import csv
import io
import sys
from collections.abc import Iterator

from stages.corpus.formats.damage import Damaged, first_line, no_column
from stages.corpus.formats.text import pieces
from stages.errors import InputError

DELIMITERS = (",", ";", "\t")
"""Those that a header line is tried with."""


def texts(uri: str, compression: str | None, column: str, delimiter: str | None) -> Iterator[str]:
    """The column's text, row by row, the header's names apart; without a `delimiter` the header line tells it.

    Raises `Damaged` for a row that is longer than the header (an unquoted delimiter in the text: the rest would be
    lost), one too short to have the column, and a quote that is not closed where its field ends, or never.
    """
    mark = delimiter or _found(uri, compression, column)
    rows = records(uri, compression, mark)
    _, header = next(rows, (1, []))
    if column not in header:
        raise no_column(uri, column, header)
    place = header.index(column)
    for line, row in rows:
        if row and len(row) <= place:
            raise Damaged(f"{uri} line {line:,} has {len(row)} of {len(header)} columns; mend or remove it.")
        if len(row) > len(header):
            raise Damaged(
                f"{uri} line {line:,} has {len(row)} columns and the header {len(header)}: text with {mark!r} in it "
                "must stand in quotes; mend the file, or set corpus.delimiter."
            )
        yield from row[place : place + 1]


def records(uri: str, compression: str | None, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of each row, an empty list for a blank line."""
    csv.field_size_limit(sys.maxsize)  # 131,072 characters otherwise: less than a book
    held: list[str] = []
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        for _, piece in pieces(uri, compression):
            for line in io.StringIO(piece, newline="\n"):
                held.append(line)
                yield line
        ended = True

    rows = csv.reader(lines(), delimiter=delimiter)
    begun = 1
    try:
        for row in rows:
            if ended:  # it was in the middle of a row, and asked for more
                raise Damaged(f"{uri} line {begun:,} opens a quote that is never closed; mend or remove it.")
            if len(held) > 1:  # a quote that was left open is closed by the next one, in the middle of another row
                list(csv.reader(held, delimiter=delimiter, strict=True))
            yield begun, row
            held.clear()
            begun = rows.line_num + 1
    except csv.Error as error:
        raise Damaged(f"{uri} line {begun:,} is not CSV: {first_line(error)}; mend or remove it.") from None


def _found(uri: str, compression: str | None, column: str) -> str:
    """The delimiter by which the header has the column: a comma, or else the only one of the others."""
    headers: dict[str, list[str]] = {}
    for mark in DELIMITERS:
        _, headers[mark] = next(records(uri, compression, mark), (1, []))
        if mark == "," and column in headers[mark]:
            return mark
    fitting = [mark for mark, header in headers.items() if column in header]
    if not fitting:
        there = max(headers.values(), key=len)
        wrong = no_column(uri, column, there)
        raise wrong if len(there) != 1 else InputError(f"{str(wrong)[:-1]}; or corpus.delimiter, if that is several.")
    if len(fitting) > 1:
        raise InputError(
            f"{uri} has a header with column {column!r} by more than one delimiter; set corpus.delimiter to its own."
        )
    return fitting[0]
