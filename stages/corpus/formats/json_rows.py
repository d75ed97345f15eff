"""JSON: an object a line (.jsonl), or one list, or objects one after another (.json)."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stages.corpus.formats.damage import Damaged, first_line, no_column, not_text
from stages.corpus.formats.ranges import WHOLE, Range
from stages.corpus.formats.text import lines, lines_before, stretches
from stages.errors import InputError

LOOKED_AT = 1000
"""Rows without text that are read in search of one that has some: where none has, the column is a wrong one."""
_SPACE, _COMMAS = re.compile(r"\s*"), re.compile(r"[\s,]*")
_TOKEN = 16
"""Characters: an error that is nearer to the end of what was read so far may be a token's that is cut there."""


@dataclass(frozen=True, slots=True)
class Row:
    """A value: the unit of the file that it is in, the number of its line, and what it is."""

    unit: int
    line: int
    value: Any


def in_lines(uri: str, compression: str | None, part: Range = WHOLE) -> Iterator[Row]:
    """The value of each line that is not blank, their numbers from the part's first line, which is 1; raises `Damaged`
    for one that is no JSON."""
    for number, (unit, line) in enumerate(lines(uri, compression, part), 1):
        if line.strip():
            try:
                yield Row(unit, number, json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _no_json(uri, number + lines_before(uri, part), error) from None


def in_sequence(uri: str, compression: str | None) -> Iterator[Row]:
    """The values of one list, or values one after another, each in a line or in several.

    Memory does not grow with the file: a value is taken as soon as it is whole. Raises `Damaged` for what is no JSON,
    and for a list without its end.
    """
    coming = stretches(uri, compression)
    decode = json.JSONDecoder().raw_decode
    held, at, line, listed, first = next(coming, ""), 0, 1, False, True
    while True:
        gap = (_COMMAS if listed else _SPACE).match(held, at)
        start, at = at, gap.end() if gap else at
        line += held.count("\n", start, at)
        if at == len(held):
            held, at = next(coming, ""), 0
            if held:
                continue
            if listed:
                raise Damaged(f"{uri} line {line:,} ends within a list that is never closed; mend or remove it.")
            return
        if held[at] == "[" and first:
            listed, first, at = True, False, at + 1
            continue
        first = False
        if held[at] == "]" and listed:
            if held[at + 1 :].strip() or any(piece.strip() for piece in coming):
                raise Damaged(f"{uri} line {line:,} has more behind the end of its list; mend or remove it.")
            return
        try:
            value, end = decode(held, at)
        except (ValueError, RecursionError) as error:
            more = _at_least(len(held) - at, coming) if _may_be_cut(error, held) else ""
            if not more:
                raise _no_json(uri, line, error) from None
            held, at = held[at:] + more, 0
            continue
        yield Row(0, line, value)
        line, at = line + held.count("\n", at, end), end


def texts(rows: Iterator[Row], column: str, uri: str, part: Range = WHOLE) -> Iterator[tuple[int, str]]:
    """(its unit, the text) of each row; a null is none.

    A row without it among others that have it is `Damaged`, since no other setting would help; where none has it the
    column is a wrong one, and that is an `InputError`. The rows before a part that is not the first are taken to have
    it: were it otherwise, the first part would say so.
    """
    found, lacking, looked = part.start > 0, None, 0
    for row in rows:
        if _has_text(row.value, column):
            if lacking is not None:
                raise _unlike_others(_place(uri, part, lacking), column)
            found = True
            if (text := row.value[column]) is not None:
                yield row.unit, text
            continue
        if not isinstance(row.value, dict):
            raise _wrong(_place(uri, part, row), row.value, column)
        if found:
            raise _unlike_others(_place(uri, part, row), column)
        lacking, looked = lacking or row, looked + 1
        if looked == LOOKED_AT:
            break
    if lacking is not None:
        raise _wrong(_place(uri, part, lacking), lacking.value, column)


def _has_text(value: Any, column: str) -> bool:
    return isinstance(value, dict) and column in value and isinstance(value[column], str | None)


def _wrong(place: str, value: Any, column: str) -> InputError:
    if not isinstance(value, dict):
        return Damaged(f"{place} is no JSON object; every line must be one, with {column!r} in it.")
    if column not in value:
        return no_column(place, column, list(value))
    return not_text(place, column, type(value[column]).__name__)


def _place(uri: str, part: Range, row: Row) -> str:
    return f"{uri} line {row.line + lines_before(uri, part):,}"


def _unlike_others(place: str, column: str) -> Damaged:
    return Damaged(f"{place} has no text in {column!r}, and other lines of the file have; mend or remove it.")


def _no_json(uri: str, line: int, error: BaseException) -> Damaged:
    return Damaged(f"{uri} line {line:,} is not JSON: {first_line(error)}; mend or remove it.")


def _may_be_cut(error: BaseException, held: str) -> bool:
    """Whether more text could make it whole: a string that does not end yet, or an error where the text ends."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= len(held) - _TOKEN


def _at_least(characters: int, coming: Iterable[str]) -> str:
    """The next pieces, as many as it takes: a value is tried again only with twice the text."""
    taken, length = [], 0
    for piece in coming:
        taken.append(piece)
        length += len(piece)
        if length >= characters:
            break
    return "".join(taken)
