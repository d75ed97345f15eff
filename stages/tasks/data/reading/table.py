"""Tables: CSV and TSV with quotes, JSON objects, Parquet; and the plain tab-separated lines of GLUE."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow.parquet as pq

from stages.corpus.formats import csv_rows, json_rows
from stages.corpus.formats.damage import UNREAD, Damaged, unread
from stages.corpus.formats.text import lines
from stages.errors import InputError
from stages.storage import filesystem_of
from stages.tasks.data.reading.cells import Cells, numbered_places, places
from stages.tasks.data.reading.suffix import TABLES, suffix_of
from stages.tasks.task import Files

Records = Iterator[tuple[int, list[str]]]
"""(line, fields)."""


def cells(path: str, files: Files) -> Cells:
    """The task's columns of one of its files.

    Raises `InputError` for a file that cannot be read, is damaged, or lacks a column. Rows shorter or longer than the
    others are `Cells.broken`.
    """
    suffix, compression = suffix_of(path)
    columns = files.columns
    wanted = [columns.text, columns.label, *filter(None, [columns.second])]
    try:
        if files.layout == "plain":
            mark = files.delimiter or "\t"
            found = ((number, line.split(mark)) for number, line in enumerate(_lines(path, compression), 1) if line)
            return _of_records(path, found, wanted, files.header)
        if suffix in (".csv", ".tsv"):
            mark = files.delimiter or _delimiter(path, compression, suffix, wanted if files.header else None)
            return _of_records(path, csv_rows.records(path, compression, mark), wanted, files.header)
        if suffix == ".parquet":
            return _of_parquet(path, wanted)
        if suffix in TABLES:
            read = json_rows.in_sequence if suffix == ".json" else json_rows.in_lines
            return _of_objects(path, read(path, compression), wanted)
    except Damaged as error:
        if suffix in (".csv", ".tsv") and ("quote" in str(error) or "is not CSV" in str(error)):
            hint = f"{str(error).rstrip('.')}; or say quotes=no, where quotes are plain characters."
            raise Damaged(hint) from None
        raise
    except UNREAD as error:
        raise unread(path, error) from error
    raise InputError(
        f"{path} is none of {', '.join(TABLES)} (all but .parquet also with .gz or .zst), and kind=tokens, for CoNLL's "
        "columns, is not said; convert it."
    )


def _lines(path: str, compression: str | None) -> Iterator[str]:
    return (line.removesuffix("\r") for _, line in lines(path, compression))


def _delimiter(path: str, compression: str | None, suffix: str, wanted: list[str] | None) -> str:
    """A tab in .tsv; else the one by which the header has the columns, a comma where none or several do."""
    if suffix == ".tsv" or wanted is None:
        return "\t" if suffix == ".tsv" else ","
    headers = {mark: next(csv_rows.records(path, compression, mark), (1, []))[1] for mark in csv_rows.DELIMITERS}
    fitting = [mark for mark, header in headers.items() if set(wanted) <= set(header)]
    # where none fits, the longest header's names are the ones to be told
    return fitting[0] if fitting else max(headers, key=lambda mark: len(headers[mark]))


def _of_records(path: str, records: Records, wanted: list[str], header: bool) -> Cells:
    first = next(records, None)
    if first is None:
        raise InputError(f"{path} is empty; name another file.")
    width = len(first[1])
    at = places(first[1], wanted, path) if header else numbered_places(wanted, width, path)
    numbers, rows, broken = [], [], []
    for number, fields in records if header else chain([first], records):
        if len(fields) == width:
            numbers.append(number)
            rows.append([fields[place] for place in at])
        elif fields:  # a blank line is no row
            broken.append(number)
    return _cells(path, "line", numbers, rows, len(wanted), broken)


def _of_objects(path: str, values: Iterable[json_rows.Row], wanted: list[str]) -> Cells:
    rows: list[list[Any]] = []
    for one in values:
        place, value = f"{path} line {one.line:,}", one.value
        if not isinstance(value, dict):
            raise InputError(f"{place} is no JSON object; every row must be one, with {' and '.join(wanted)} in it.")
        places(list(value), wanted, place)
        rows.append([value[column] for column in wanted])
    return _cells(path, "row", range(1, len(rows) + 1), rows, len(wanted))


def _of_parquet(path: str, wanted: list[str]) -> Cells:
    filesystem, inside = filesystem_of(path)
    with filesystem.open_input_file(inside) as stream:
        opened = pq.ParquetFile(stream, page_checksum_verification=True)
        places(opened.schema_arrow.names, wanted, path)
        table = opened.read(columns=wanted)
    rows = list(zip(*(table.column(column).to_pylist() for column in wanted), strict=True))
    return _cells(path, "row", range(1, len(rows) + 1), rows, len(wanted))


def _cells(where: str, unit: str, numbers: Any, rows: Any, columns: int, broken: Any = ()) -> Cells:
    if not rows and not broken:
        raise InputError(f"{where} has no rows; name another file.")
    taken = list(zip(*rows, strict=True)) if rows else [()] * columns
    second = taken[2] if columns > 2 else None
    return Cells(where=where, unit=unit, numbers=numbers, text=taken[0], second=second, label=taken[1], broken=broken)
