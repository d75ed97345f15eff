"""A search while it lasts: its trials in a table on a terminal, in lines in a log file, and how long it will take."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import Console, in_short, reasons
from pipeline.cli.progress_rate import duration
from pipeline.tuning.ledger import Trial
from pipeline.tuning.tables.trials import count_text, described, runs_table, trial_line, trials_table

if TYPE_CHECKING:
    from pipeline.records.reuse import Progress, StageResult

_LOG_SECONDS = 10.0
"""Between two lines about running trials where there is no terminal to draw a table on."""


class Board:
    """Implements `records.reuse.Watch` for a search: tables of its trials for the stage `search`, a console's bars and
    lines for the others. `show` and `confirm` may be called from any thread."""

    def __init__(
        self, console: Console, *, trials: int, objective: str, full_tokens: int, why: tuple[str, ...] = ()
    ) -> None:
        """`trials`: how many there will be; `full_tokens`: of a whole trial; `why`: the reasons that are shown, where
        the step cannot know them."""
        self._console, self._terminal = console, console.terminal
        self._total, self._objective, self._full = trials, objective, full_tokens
        self._why = why
        self._trials: tuple[Trial, ...] = ()
        self._runs: tuple[Trial, ...] = ()
        self._runs_total = 0
        self._started = self._last = time.monotonic()
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def running(self, stage: str, why: tuple[str, ...]) -> "AbstractContextManager[Progress]":
        """Around a stage that runs. For `search`, the progress that it gives need not be called: `show` is."""
        return self._searching(self._why or why) if stage == "search" else self._console.running(stage, why)

    def reused(self, made: "StageResult[Any]") -> None:
        """The line of a stage whose record was there."""
        self._console.reused(made)

    def planned(self, made: "StageResult[Any]") -> None:
        """The line of a stage in a plan."""
        self._console.planned(made)

    def show(self, trials: Sequence[Trial]) -> None:
        """Take in all trials as they are now."""
        with self._lock:
            self._trials = tuple(trials)
            self._tell(self._trials, self._total)

    def confirm(self, runs: Sequence[Trial], total: int) -> None:
        """Take in the confirmation's runs as they are now; there will be `total` at most."""
        with self._lock:
            self._runs, self._runs_total = tuple(runs), total
            self._tell(self._runs, total)

    @contextmanager
    def _searching(self, why: tuple[str, ...]) -> "Iterator[Progress]":
        self._started = self._last = time.monotonic()
        try:
            with self._while_it_lasts(why):
                yield _ignore
        except BaseException:
            self._print(trials_table(self._trials, self._objective, self._full, count_text(self._trials)))
            if self._runs:
                title = f"confirmation: {count_text(self._runs, 'runs')}"
                self._print(runs_table(self._runs, self._objective, self._full, title))
            self._console.line("[red]✗[/red]", "search", f"stopped after {duration(time.monotonic() - self._started)}")
            raise
        self._print(trials_table(self._trials, self._objective, self._full, count_text(self._trials)))
        took = duration(time.monotonic() - self._started)
        self._console.line("[green]✓[/green]", "search", f"{took}  {reasons(why)}")

    def _while_it_lasts(self, why: tuple[str, ...]) -> AbstractContextManager[object]:
        """The table that vanishes in the end; in a log file, a first line for those that follow."""
        if self._terminal.is_interactive:
            return Live(get_renderable=self._drawn, console=self._terminal, transient=True, refresh_per_second=2)
        self._console.line("…", "search", f"running  {reasons(why)}")
        return nullcontext()

    def _drawn(self) -> Group:
        """As much as fits the terminal's height: below it, Live would cut off the trials that are running."""
        with self._lock:
            trials, runs, total = self._trials, self._runs, self._runs_total
        concurrency = max(4, self._terminal.height - 7 - (len(runs) + 5 if runs else 0))
        if not runs:
            title = f"{self._pace(trials, self._total, 'trials')} before the confirmation"
            return Group(trials_table(trials, self._objective, self._full, title, concurrency))
        return Group(
            trials_table(trials, self._objective, self._full, count_text(trials), concurrency),
            "",
            runs_table(runs, self._objective, self._full, f"confirmation: {self._pace(runs, total, 'runs at most')}"),
        )

    def _pace(self, trials: Sequence[Trial], total: int, unit: str) -> str:
        over = sum(trial.is_over for trial in trials)
        left = seconds_left(trials, total, self._full)
        parts = [f"{over} of {total} {unit}", duration(time.monotonic() - self._started)]
        return ", ".join(parts + ([f"{_roughly(left)} left"] if left is not None else []))

    def _tell(self, trials: Sequence[Trial], total: int) -> None:
        """In a log file: a line for each trial that is over, and now and then one for those that run."""
        if self._terminal.is_interactive:
            return
        for trial in trials:
            if trial.is_over and _name(trial) not in self._told:
                self._told.add(_name(trial))
                self._console.line("…", _name(trial), escape(trial_line(trial, self._objective, self._full)))
        running = [f"{_name(trial)} {described(trial, self._full)}" for trial in trials if not trial.is_over]
        if running and time.monotonic() - self._last >= _LOG_SECONDS:
            self._last = time.monotonic()
            pace = self._pace(trials, total, "runs at most of the confirmation" if trials is self._runs else "trials")
            self._console.line("…", "search", escape(f"{pace}: {in_short(tuple(running))}"))

    def _print(self, table: Table) -> None:
        """A log file, unlike a terminal, is as wide as the table."""
        if not self._terminal.is_interactive:
            table.width = _natural_width(self._terminal, table)
        self._terminal.print(table, crop=self._terminal.is_interactive)


def seconds_left(trials: Sequence[Trial], total: int, full_tokens: int) -> float | None:
    """Until all `total` trials are over; None before the first is.

    It assumes that a trial takes as many seconds and gets as far as those that are over did on average. Trial 0 is left
    out of that mean once there is another, as it always takes a whole budget. A running trial has the rest of the
    tokens to go: to that mean, or to the end where it is past it already or is trial 0. As many go on at a time as are
    running now.
    """
    over = [trial for trial in trials if trial.is_over]
    if not over:
        return None
    typical = [trial for trial in over if trial.number] or over
    seconds, tokens = mean(trial.seconds for trial in typical), mean(trial.tokens for trial in typical)
    running = [trial for trial in trials if not trial.is_over]
    left = float(total - len(over) - len(running))
    for trial in running:
        goal = tokens if trial.number and trial.tokens < tokens else full_tokens
        left += max(0.0, goal - trial.tokens) / tokens if tokens else 1.0
    return seconds * max(0.0, left) / max(1, len(running))


def _roughly(seconds: float) -> str:
    """`about 9 min`: an estimate has no seconds."""
    if seconds < 45:
        return "less than a minute"
    return f"about {max(1, round(seconds / 60))} min" if seconds < 3570 else f"about {duration(seconds)}"


def _name(trial: Trial) -> str:
    return f"trial {trial.number}" if trial.confirms is None else f"trial {trial.confirms}, seed {trial.seed}"


def _natural_width(terminal: Terminal, table: Table) -> int:
    return terminal.measure(table, options=terminal.options.update(max_width=1000)).maximum


def _ignore(*_: object) -> None:
    """The ledger says more."""
