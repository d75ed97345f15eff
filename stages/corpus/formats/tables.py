"""Parquet: one column of a table, as text, whatever kind of string its writer chose."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from stages.corpus.formats.damage import Damaged, no_column, not_text
from stages.corpus.formats.ranges import WHOLE, Range, unit_of
from stages.errors import InputError
from stages.storage import filesystem_of

ROWS = 64
"""Rows decoded at once: few, since one may be a whole book."""


def texts(uri: str, column: str, part: Range = WHOLE) -> Iterator[tuple[int, str]]:
    """(its unit, the text) of each row in the row groups that begin in `part`; a null is none. Bytes are taken for
    UTF-8: raises `Damaged` where they are not."""
    with table(uri, column) as opened:
        about = opened.metadata
        sizes = [about.row_group(group).num_rows for group in range(opened.num_row_groups)]
        read = 0
        for group, place in enumerate(_begins(about)):
            if not part.has(place):
                continue
            before = rows = sum(sizes[:group])
            for batch in opened.iter_batches(batch_size=ROWS, columns=[column], row_groups=[group]):
                for number, value in enumerate(batch.column(0).to_pylist(), rows + 1):
                    if value is not None:
                        yield unit_of(place), value if isinstance(value, str) else _decoded(value, uri, number)
                rows += batch.num_rows
            read += rows - before
        named = (
            about.num_rows
            if part == WHOLE
            else sum(size for size, place in zip(sizes, _begins(about), strict=True) if part.has(place))
        )
        if read != named or sum(sizes) != about.num_rows:  # no checksum, but the footer says twice how many there are
            raise Damaged(f"{uri} holds {read:,} rows and not the {named:,} it speaks of; make it anew.")


def _begins(about: pq.FileMetaData) -> Iterator[int]:
    """Where each row group is stored in the file; never before the one that comes earlier in the table."""
    place = 0
    for group in range(about.num_row_groups):
        column = about.row_group(group).column(0)
        begins = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        place = max(place, begins)
        yield place


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
