"""Trials of a search that never ran, and tables as they are printed."""

import io
import re

from rich.console import Console as Terminal
from rich.table import Table

from pipeline.config.overrides import Scalar
from pipeline.tuning.ledger import Report, State, Trial

LOSS = "heldout_mlm_loss"
FULL = 1000


def setting(temperature: float = 2.0, ce: float = 5.0, mlm: float = 2.0, cos: float = 1.0, **more: Scalar) -> dict:
    return {"temperature": temperature, "alpha_ce": ce, "alpha_mlm": mlm, "alpha_cos": cos, **more}


def a_trial(
    number: int,
    state: State = "running",
    tokens: int = 0,
    loss: float = 4.0,
    *,
    fields: dict | None = None,
    why: str = "",
    seconds: float = 0.0,
    confirms: int | None = None,
) -> Trial:
    reports = (Report(step=tokens, tokens=tokens, metrics={LOSS: loss}),) if tokens else ()
    return Trial(
        number=number,
        setting=fields or setting(),
        point={},
        seed=70 + number,
        confirms=confirms,
        state=state,
        why=why,
        reports=reports,
        seconds=seconds,
    )


def some_trials() -> list[Trial]:
    return [
        a_trial(0, "completed", 1000, 3.25),
        a_trial(1, "stopped early", 100, 3.01234, fields=setting(3.456, 1, 6.5, 0.5)),
        a_trial(2, "failed", why="loss is nan at [step] 12"),
        a_trial(3, "completed", 1000, 3.21, fields=setting(1.5)),
        a_trial(4, "running", 400, 3.6, fields=setting(7.0)),
    ]


def printed(table: Table, width: int = 160) -> str:
    shown = io.StringIO()
    Terminal(file=shown, width=width).print(table)
    return shown.getvalue()


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells by the first one; two spaces or a line part them."""
    lines = [re.split(r"\s*│\s*|\s{2,}", line.strip(" │\n")) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines}
