"""Input files that are broken: found beforehand where a footer tells, or by reading a file through."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from stages.corpus import readers
from stages.corpus.readers import Damaged
from stages.errors import InputError

FOOTERS, AT_A_TIME = 1000, 16
"""Parquet footers that are read beforehand from an object store, at most (from a disk all are), and how many at once:
each takes some 50 ms there."""


def first_of_tables(uris: Sequence[str], column: str) -> Damaged | None:
    """What is wrong with the first Parquet file that has no whole footer; all are looked at, and other `InputError`s
    raised. A file that was cut short has none."""
    tables = [uri for uri in uris if readers.format_of(uri)[0] == ".parquet"]
    near, far = ([uri for uri in tables if ("://" in uri) is away] for away in (False, True))
    some = near + far[:: -(-len(far) // FOOTERS) or 1]
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        found = list(threads.map(partial(of_table, column=column), some))
    return next((damaged for damaged in found if damaged is not None), None)


def of_table(uri: str, column: str) -> Damaged | None:
    """What a Parquet file's footer says, or that there is none."""
    try:
        readers.check_table(uri, column)
    except Damaged as damaged:
        return damaged
    return None


def of(uri: str, column: str) -> Damaged | None:
    """What is wrong with a file, by reading it through; None where it is whole."""
    try:
        for _ in readers.documents(uri, column, "line"):
            pass
    except Damaged as damaged:
        return damaged
    return None


def refusal(damaged: Damaged) -> InputError:
    """The same sentence, with the way out."""
    said = str(damaged)
    return InputError(f"{said.rstrip('.?')}{'?' if said.endswith('?') else '.'} corpus.on_damaged=skip leaves it out.")
