"""Parquet: one column of a table, as text, whatever kind of string its writer chose."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from stages.corpus.formats.damage import Damaged, no_column, not_text
from stages.errors import InputError
from stages.storage import filesystem_of

ROWS = 64
"""Rows decoded at once: few, since one may be a whole book."""


def texts(uri: str, column: str) -> Iterator[str]:
    """The column's text, row by row; a null is none. Bytes are taken for UTF-8: raises `Damaged` where they are not."""
    with table(uri, column) as opened:
        rows = 0
        for batch in opened.iter_batches(batch_size=ROWS, columns=[column]):
            for number, value in enumerate(batch.column(0).to_pylist(), rows + 1):
                if value is not None:
                    yield value if isinstance(value, str) else _decoded(value, uri, number)
            rows += batch.num_rows
        if rows != opened.metadata.num_rows:  # the footer has no checksum, but says twice how many there are
            raise Damaged(
                f"{uri} holds {rows:,} rows and not the {opened.metadata.num_rows:,} it speaks of; make it anew."
            )


@contextmanager
def table(uri: str, column: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file that has the column, with text in it. Pages that have a checksum are held against it."""
    filesystem, path = filesystem_of(uri)
    with filesystem.open_input_file(path) as stream:
        opened = pq.ParquetFile(stream, page_checksum_verification=True)
        schema = opened.schema_arrow
        if column not in schema.names:
            raise no_column(uri, column, schema.names)
        if schema.names.count(column) > 1:
            raise InputError(f"{uri} has {schema.names.count(column)} columns {column!r}; rename all but one.")
        kind = schema.field(column).type
        if not _may_be_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
            raise not_text(uri, column, str(kind))
        yield opened


def _may_be_text(kind: pa.DataType) -> bool:
    """Strings and bytes; `null` is what writers make of a column in which nothing but nulls happened to stand."""
    types = pa.types
    strings = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
    return strings or binary or types.is_null(kind)


def _decoded(value: bytes, uri: str, row: int) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged(
            f"{uri} row {row:,} is not UTF-8: byte {value[error.start]:#04x} at its offset {error.start:,}; convert it."
        ) from None
