"""Plain data for a person, in columns, and for a program, as one JSON object; neither shows a secret."""

import json
import os
import sys
from collections.abc import Sequence
from math import isfinite
from typing import Any

from pipeline.config.redaction import redacted
from pipeline.config.serialisation import to_plain

_GAP = "  "


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Lines in which each column is as wide as its longest text: whole words, however narrow the terminal is, so that
    `grep` and `awk` find them."""
    shown = [[redacted(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(_GAP.join(map(str.ljust, row, widths)).rstrip() for row in shown)


def as_json(answer: object) -> str:
    """One JSON object; the keys of each are in docs/cli.md."""
    return json.dumps(_presentable(to_plain(answer)), indent=2, ensure_ascii=False)


def answer(text: str) -> None:
    """Print it, for as long as anybody reads: `| head` leaves early, and that is no fault."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain as it ends


def _presentable(data: Any) -> Any:
    """Without secrets, text by text: in the whole, what follows an address would be taken for a part of it. And without
    numbers that are none, which JSON does not have."""
    if isinstance(data, dict):
        return {name: _presentable(item) for name, item in data.items()}
    if isinstance(data, list):
        return [_presentable(item) for item in data]
    if isinstance(data, float) and not isfinite(data):
        return None
    return redacted(data) if isinstance(data, str) else data
