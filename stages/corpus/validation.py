"""Input files that are broken: found beforehand where a footer or a first row tells, or by reading a file through."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from stages.corpus import readers
from stages.corpus.formats.ranges import WHOLE, Range
from stages.corpus.readers import Damaged
from stages.errors import InputError

HEADS, AT_A_TIME = 1000, 16
"""Tables of which the footer or the first row is read beforehand from an object store, at most (from a disk all are),
and how many at once: each takes some 50 ms there."""


def first_of_tables(uris: Sequence[str], column: str, delimiter: str | None) -> Damaged | None:
    """What is wrong with the first table that has no whole footer, or no first row that can be read; all are looked at,
    and other `InputError`s raised, so that a column that one of many does not have is known beforehand, and text that
    zstd packed with a long window."""
    tables = [uri for uri in uris if readers.format_of(uri)[0] != ".txt" or readers.format_of(uri)[1] == "zstd"]
    near, far = ([uri for uri in tables if ("://" in uri) is away] for away in (False, True))
    some = near + far[:: -(-len(far) // HEADS) or 1]
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        found = list(threads.map(partial(of_table, column=column, delimiter=delimiter), some))
    return next((damaged for damaged in found if damaged is not None), None)


def of_table(uri: str, column: str, delimiter: str | None) -> Damaged | None:
    """What a table's footer or first row says, or that there is none."""
    try:
        readers.check_table(uri, column, delimiter)
    except Damaged as damaged:
        return damaged
    return None


def of(uri: str, column: str, delimiter: str | None, part: Range = WHOLE) -> Damaged | None:
    """What is wrong with a file, or a part of one, by reading it through; None where it is whole."""
    try:
        for _ in readers.rows(uri, column, "line", delimiter, part):
            pass
    except Damaged as damaged:
        return damaged
    return None


def refusal(damaged: Damaged) -> InputError:
    """The same sentence, with the way out."""
    said = str(damaged)
    return InputError(f"{said.rstrip('.?')}{'?' if said.endswith('?') else '.'} corpus.on_damaged=skip leaves it out.")
