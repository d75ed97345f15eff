"""One input file to its documents' raw text, as a stream: memory does not grow with the file.

`.txt` (a document a line, or one a file), `.jsonl` and `.csv` (a document a row), each plain, `.gz` or `.zst`, and
`.parquet`. Text is UTF-8: anything else is an error that names the file and the byte, never a guess.

A file whose bytes can be read and not be understood is `Damaged`; one that cannot be reached, or has no such column, is
not, and is never passed over.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from stages.errors import InputError
from stages.storage import filesystem_of, read_through

FORMATS = (".txt", ".jsonl", ".csv", ".parquet")
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
CHUNK_BYTES = 1 << 20
PARQUET_ROWS = 64
"""Rows decoded at once: few, since one may be a whole book."""


class Damaged(InputError):
    """A file's content is broken: cut short, overwritten, not what its name says."""


def format_of(name: str) -> tuple[str, str | None]:
    """(one of `FORMATS`, the compression's name in pyarrow) from a file's name; `InputError` for any other."""
    bare = name.partition("?")[0] if "://" in name else name
    stem, dot, last = bare.rpartition(".")
    compression = COMPRESSIONS.get(f"{dot}{last.lower()}")
    suffix = "." + (stem.rpartition(".")[2] if compression else last).lower()
    if suffix not in FORMATS or (compression and suffix == ".parquet"):
        raise InputError(
            f"{name} is none of {', '.join(FORMATS)} (the first three also with .gz or .zst); "
            "convert it, or narrow corpus.paths."
        )
    return suffix, compression


def documents(uri: str, column: str, per: Literal["line", "file"]) -> Iterator[str]:
    """The raw documents of a file in order; `per` bears on .txt alone, `column` on all others.

    Raises `Damaged` for content that cannot be understood, text that is not UTF-8 included; `InputError` for a table
    without the column, and a file that cannot be reached.
    """
    suffix, compression = format_of(uri)
    try:
        if suffix == ".parquet":
            yield from _parquet(uri, column)
        elif suffix == ".jsonl":
            yield from _jsonl(uri, compression, column)
        elif suffix == ".csv":
            yield from _csv(uri, compression, column)
        elif per == "file":
            yield "".join(_text(uri, compression))
        else:
            yield from _lines(uri, compression)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise _unread(uri, error) from error


def check_table(uri: str, column: str) -> None:
    """Read a Parquet file's footer alone, which a file that was cut short has not; raises as `documents` does."""
    try:
        with _table(uri, column):
            return
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise _unread(uri, error) from error


def _unread(uri: str, error: Exception) -> InputError:
    """Damage, where the bare bytes can be read to their end; else a store that is away."""
    try:
        read_through(uri)
    except (OSError, pa.ArrowException) as unreachable:
        return InputError(f"cannot read {uri}: {_first_line(unreachable)}; check the address and your access.")
    return Damaged(f"cannot read {uri}: {_first_line(error)}; is it whole, and what its name says?")


def _text(uri: str, compression: str | None) -> Iterator[str]:
    """The decoded text in pieces, each but the last ending with a line."""
    filesystem, path = filesystem_of(uri)
    offset, rest = 0, [b""]
    with filesystem.open_input_stream(path, compression=compression) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:  # in the middle of a long line
                rest.append(tail)
                continue
            piece = b"".join((*rest, head, newline))
            yield _decode(piece, offset, uri)
            offset, rest = offset + len(piece), [tail]
    if last := b"".join(rest):
        yield _decode(last, offset, uri)


def _decode(piece: bytes, offset: int, uri: str) -> str:
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise Damaged(
            f"{uri} is not UTF-8: byte {piece[error.start]:#04x} at offset {at:,}; convert it (iconv -t UTF-8)."
        ) from None
    return text.removeprefix("\ufeff") if offset == 0 else text


def _lines(uri: str, compression: str | None) -> Iterator[str]:
    """Lines as `\\n` ends them, without their ends: `str.splitlines` would cut at other characters too."""
    for piece in _text(uri, compression):
        yield from piece.removesuffix("\n").split("\n")


def _jsonl(uri: str, compression: str | None, column: str) -> Iterator[str]:
    for number, line in enumerate(_lines(uri, compression), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Damaged(f"{uri} line {number:,} is not JSON: {_first_line(error)}; mend or remove it.") from None
        if not isinstance(row, dict):
            raise Damaged(f"{uri} line {number:,} is no JSON object; every line must be one, with {column!r} in it.")
        if column not in row:
            raise _no_column(f"{uri} line {number:,}", column, list(row))
        if isinstance(row[column], str):
            yield row[column]
        elif row[column] is not None:
            raise _not_text(f"{uri} line {number:,}", column, type(row[column]).__name__)


def _csv(uri: str, compression: str | None, column: str) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)  # 131,072 characters otherwise: less than a book
    rows = csv.reader(line for piece in _text(uri, compression) for line in io.StringIO(piece, newline="\n"))
    try:
        header = next(rows, [])
        if column not in header:
            raise _no_column(uri, column, header)
        place = header.index(column)
        for row in rows:
            if row and len(row) <= place:
                raise Damaged(
                    f"{uri} line {rows.line_num:,} has {len(row)} of {len(header)} columns; mend or remove it."
                )
            yield from row[place : place + 1]
    except csv.Error as error:
        raise Damaged(f"{uri} line {rows.line_num:,} is not CSV: {_first_line(error)}; mend or remove it.") from None


def _parquet(uri: str, column: str) -> Iterator[str]:
    with _table(uri, column) as table:
        rows = 0
        for batch in table.iter_batches(batch_size=PARQUET_ROWS, columns=[column]):
            rows += batch.num_rows
            yield from (text for text in batch.column(0).to_pylist() if text is not None)
        if rows != table.metadata.num_rows:  # the footer has no checksum, but says twice how many there are
            raise Damaged(
                f"{uri} holds {rows:,} rows and not the {table.metadata.num_rows:,} it speaks of; make it anew."
            )


@contextmanager
def _table(uri: str, column: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file that has the column, with text in it. Pages that have a checksum are held against it."""
    filesystem, path = filesystem_of(uri)
    with filesystem.open_input_file(path) as stream:
        table = pq.ParquetFile(stream, page_checksum_verification=True)
        schema = table.schema_arrow
        if column not in schema.names:
            raise _no_column(uri, column, schema.names)
        kind = schema.field(column).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(value) or pa.types.is_large_string(value)):
            raise _not_text(uri, column, str(kind))
        yield table


def _no_column(place: str, column: str, there: list[str]) -> InputError:
    found = ", ".join(there[:20]) or "none"
    return InputError(f"{place} has no column {column!r}; set corpus.text_column to one of those it has: {found}.")


def _not_text(place: str, column: str, kind: str) -> InputError:
    return InputError(f"column {column!r} of {place} holds {kind} and not text; set corpus.text_column to another one.")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
