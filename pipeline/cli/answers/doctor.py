"""`distil doctor`: a line for each thing that was looked at, and a sentence for each that is wrong."""

import os
import sys

from rich.console import Console as Terminal
from rich.markup import escape
from rich.table import Table

from pipeline.cli.answers.formats import in_columns
from pipeline.config.redaction import redacted
from pipeline.doctor.check import Check
from pipeline.doctor.examine import Examination

FINE, WARNED, WRONG = "✓", "!", "✗"
_COLOUR = {FINE: "green", WARNED: "yellow", WRONG: "red"}


def sign(check: Check) -> str:
    """The worst of what was found."""
    return WRONG if check.faults else WARNED if check.warnings else FINE


def as_text(found: Examination) -> str:
    """The table, then what is wrong, then what is worth knowing."""
    rows = [(sign(check), check.check, check.found) for check in found.checks]
    lines = _drawn(rows) if sys.stdout.isatty() else in_columns(rows)
    warnings = dict.fromkeys(warning for check in found.checks for warning in check.warnings)
    said = [f"{WRONG} {fault}" for fault in found.faults] + [f"{WARNED} {warning}" for warning in warnings]
    return "\n".join([lines, *([""] if said else []), *map(redacted, said)])


def _drawn(rows: list[tuple[str, str, str]]) -> str:
    """For a terminal: colours, and lines that are broken within their column."""
    table = Table.grid(padding=(0, 2))
    for mark, name, text in rows:
        table.add_row(f"[{_COLOUR[mark]}]{mark}[/]", escape(name), escape(redacted(text)))
    terminal = Terminal(highlight=False, width=min(os.get_terminal_size().columns, 120))
    with terminal.capture() as drawn:
        terminal.print(table)
    return drawn.get().rstrip("\n")
