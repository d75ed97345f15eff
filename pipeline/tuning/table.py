"""What a person sees of a search: its trials while they run, and in the end the best setting beside the paper's."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.console import Console, in_short
from pipeline.fields import Scalar
from pipeline.pace import duration
from pipeline.tuning.ledger import State, Trial

if TYPE_CHECKING:
    from pipeline.reuse import Made, Progress
    from pipeline.tuning.verdict import Search

_LOG_SECONDS = 10.0
"""Between two lines about running trials where there is no terminal to draw a table on."""
_NAME_WIDTH = 16  # as in the console's own lines
_REASON = 60
_BAR = 8
_WEIGHTS = ("alpha_ce", "alpha_mlm", "alpha_cos")
_WEIGHTS_NAME = "ce / mlm / cos"
_COLOURS: dict[State, str] = {"running": "yellow", "completed": "green", "stopped early": "dim", "failed": "red"}


class Board:
    """Implements `pipeline.reuse.Watch` for a search: tables of its trials for the stage `search`, a console's bars and
    lines for the others. `show` and `confirm` may be called from any thread."""

    def __init__(self, console: Console, *, trials: int, objective: str, full_tokens: int) -> None:
        """`trials`: how many there will be; `full_tokens`: of a whole trial."""
        self._console, self._terminal = console, console.terminal
        self._total, self._objective, self._full = trials, objective, full_tokens
        self._trials: tuple[Trial, ...] = ()
        self._runs: tuple[Trial, ...] = ()
        self._runs_total = 0
        self._started = self._last = time.monotonic()
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def running(self, stage: str, why: tuple[str, ...]) -> "AbstractContextManager[Progress]":
        """Around a stage that runs. For `search`, the progress that it gives need not be called: `show` is."""
        return self._searching(why) if stage == "search" else self._console.running(stage, why)

    def reused(self, made: "Made[Any]") -> None:
        """The line of a stage whose record was there."""
        self._console.reused(made)

    def planned(self, made: "Made[Any]") -> None:
        """The line of a stage in a plan."""
        self._console.planned(made)

    def show(self, trials: Sequence[Trial]) -> None:
        """Take in all trials as they are now."""
        with self._lock:
            self._trials = tuple(trials)
            self._tell(self._trials, self._total)

    def confirm(self, runs: Sequence[Trial], total: int) -> None:
        """Take in the confirmation's runs as they are now; there will be `total`."""
        with self._lock:
            self._runs, self._runs_total = tuple(runs), total
            self._tell(self._runs, total)

    @contextmanager
    def _searching(self, why: tuple[str, ...]) -> "Iterator[Progress]":
        self._started = self._last = time.monotonic()
        reasons = f"[dim]({escape(in_short(why))})[/dim]" if why else ""
        try:
            with self._while_it_lasts(reasons):
                yield _ignore
        except BaseException:
            self._print(trials_table(self._trials, self._objective, self._full, _count(self._trials)))
            if self._runs:
                title = f"confirmation: {_count(self._runs, 'runs')}"
                self._print(runs_table(self._runs, self._objective, self._full, title))
            self._line("[red]✗[/red]", f"stopped after {duration(time.monotonic() - self._started)}")
            raise
        self._print(trials_table(self._trials, self._objective, self._full, _count(self._trials)))
        self._line("[green]✓[/green]", f"{duration(time.monotonic() - self._started)}  {reasons}")

    def _while_it_lasts(self, reasons: str) -> AbstractContextManager[object]:
        """The table that vanishes in the end; in a log file, a first line for those that follow."""
        if self._terminal.is_interactive:
            return Live(get_renderable=self._drawn, console=self._terminal, transient=True, refresh_per_second=2)
        self._line("…", f"running  {reasons}")
        return nullcontext()

    def _drawn(self) -> Group:
        """As much as fits the terminal's height: below it, Live would cut off the trials that are running."""
        with self._lock:
            trials, runs, total = self._trials, self._runs, self._runs_total
        room = max(4, self._terminal.height - 7 - (len(runs) + 5 if runs else 0))
        if not runs:
            title = f"{self._pace(trials, self._total, 'trials')} before the confirmation"
            return Group(trials_table(trials, self._objective, self._full, title, room))
        return Group(
            trials_table(trials, self._objective, self._full, _count(trials), room),
            "",
            runs_table(runs, self._objective, self._full, f"confirmation: {self._pace(runs, total, 'runs')}"),
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
                self._console.say(f"… {_name(trial):<{_NAME_WIDTH}} {_told(trial, self._objective, self._full)}")
        running = [f"{_name(trial)} {described(trial, self._full)}" for trial in trials if not trial.is_over]
        if running and time.monotonic() - self._last >= _LOG_SECONDS:
            self._last = time.monotonic()
            pace = self._pace(trials, total, "runs of the confirmation" if trials is self._runs else "trials")
            self._console.say(f"… {'search':<{_NAME_WIDTH}} {pace}: {in_short(tuple(running))}")

    def _line(self, sign: str, rest: str) -> None:
        self._terminal.print(f"{sign} {'search':<{_NAME_WIDTH}} {rest}")

    def _print(self, table: Table) -> None:
        """A log file, unlike a terminal, is as wide as the table."""
        if not self._terminal.is_interactive:
            table.width = _natural_width(self._terminal, table)
        self._terminal.print(table, crop=self._terminal.is_interactive)


def trials_table(
    trials: Sequence[Trial], objective: str, full_tokens: int, title: str = "", most: int | None = None
) -> Table:
    """The trials by number, a row each. Fields of the settings besides T and the weights have columns where they vary.

    At `most` so many rows, of a line each: trial 0, the best and those that run come first, then the latest.
    """
    further, best = varying([trial.setting for trial in trials]), best_so_far(trials, objective)
    table = _table(title)
    for name in ("#", "T", _WEIGHTS_NAME, *further, "state", "progress", objective):
        _column(table, name, left=name in ("state", "progress"))
    table.add_column("")  # the only one that gives way where it is narrow
    shown = _most_telling(trials, best, most)
    for trial in shown:
        table.add_row(
            Text(str(trial.number)),
            Text(value_text("temperature", trial.setting.get("temperature"))),
            Text(weights_text(trial.setting)),
            *(Text(value_text(name, trial.setting.get(name))) for name in further),
            *_outcome(trial, objective, full_tokens, bold=trial is best),
            Text(_remark(trial, trial is best), no_wrap=most is not None, overflow="ellipsis"),
        )
    if len(shown) < len(trials):
        table.caption, table.caption_justify = f"and {len(trials) - len(shown)} that are over", "left"
    return table


def runs_table(runs: Sequence[Trial], objective: str, full_tokens: int, title: str = "") -> Table:
    """The confirmation's runs, a row each, in the order in which they began."""
    table = _table(title)
    for name in ("trial", "seed", "state", "progress", objective):
        _column(table, name, left=name in ("state", "progress"))
    table.add_column("")
    for run in sorted(runs, key=lambda run: run.number):
        outcome = _outcome(run, objective, full_tokens, bold=False)
        table.add_row(Text(str(run.confirms)), Text(str(run.seed)), *outcome, Text(_cut(run.why)))
    return table


def verdict_table(search: "Search") -> Table:
    """The paper's setting beside the best other one, on the seeds of the confirmation."""
    paper, best, verdict = search.verdict.paper, search.verdict.best, search.verdict
    table = Table(title=f"{search.objective} on {len(search.seeds)} fresh seeds", title_justify="left")
    for column in ("", "paper's setting", "best" if best is None else f"best (trial {best.trial})", "gain ± spread"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    empty: dict[str, Scalar] = {}
    mine, theirs = paper.setting, best.setting if best else empty
    for name in ("temperature", _WEIGHTS_NAME, *varying([one.setting for one in search.confirmed])):
        row = [_setting_text(name, setting) if setting else "–" for setting in (mine, theirs)]
        table.add_row(Text("T" if name == "temperature" else name), *map(Text, row))
    table.add_section()
    for index, seed in enumerate(search.seeds):
        values = [f"{paper.values[index]:.4f}", f"{best.values[index]:.4f}" if best else "–"]
        gain = f"{paper.values[index] - best.values[index]:.4f}" if best else ""
        table.add_row(f"seed {seed}", *values, gain)
    gain = f"{verdict.gain:.4f} ± {verdict.spread:.4f}" if best else ""
    table.add_row("mean", f"{paper.mean:.4f}", f"{best.mean:.4f}" if best else "–", gain, style="bold")
    others = [one for one in search.confirmed if one.trial not in (paper.trial, best.trial if best else None)]
    if others:
        told = ", ".join(f"trial {one.trial} with a mean of {one.mean:.4f}" for one in others)
        table.caption, table.caption_justify = f"also confirmed: {told}", "left"
    return table


def verdict_lines(search: "Search", command: str) -> list[str]:
    """What the confirmation came to, in a sentence, and the `command` for the full run."""
    paper, best, verdict = search.verdict.paper, search.verdict.best, search.verdict
    if best is None:
        return ["nothing to confirm: no other trial got far enough", f"full run: {command}"]
    name, seeds = f"trial {best.trial}", f"{len(search.seeds)} fresh seeds"
    figures = f"{search.objective} {best.mean:.4f} instead of {paper.mean:.4f}"
    gain = f"gain {verdict.gain:.4f} ± {verdict.spread:.4f}"
    if verdict.is_better:
        sentence = f"{name} is better than the paper's setting on every one of {seeds}: {figures}, {gain}"
    else:
        sentence = f"no better than the paper's: {name}, the best other one, has {figures} on {seeds}, {gain}"
    return [sentence, f"full run: {command}"]


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


def best_so_far(trials: Sequence[Trial], objective: str) -> Trial | None:
    """The lowest objective among those that got furthest, as `pipeline.tuning.verdict.candidates` compares them."""
    reported = [trial for trial in trials if trial.reports and trial.state != "failed"]
    return min(reported, key=lambda trial: (-trial.tokens, trial.objective(objective)), default=None)


def varying(settings: Sequence[Mapping[str, Scalar]]) -> list[str]:
    """The fields besides T and the weights that are not the same in all settings, in the settings' order."""
    names = dict.fromkeys(name for setting in settings for name in setting)
    known = ("temperature", *_WEIGHTS)
    return [name for name in names if name not in known and len({setting.get(name) for setting in settings}) > 1]


def described(trial: Trial, full_tokens: int) -> str:
    """`running 40 %`, `completed`, `stopped early at 10 %`, `failed at 10 %`."""
    share = f"{100 * _share(trial, full_tokens):.0f} %"
    if trial.state == "completed":
        return trial.state
    return f"running {share}" if trial.state == "running" else f"{trial.state} at {share}"


def value_text(name: str, value: Scalar) -> str:
    """A field's value in a few letters."""
    if value is None or isinstance(value, bool | str):
        return "–" if value is None else str(value)
    if name in ("temperature", *_WEIGHTS):
        return f"{value:.2f}"
    if isinstance(value, int):
        return str(value)
    return f"{value:.1e}" if name == "learning_rate" else f"{value:.3g}"


def weights_text(setting: Mapping[str, Scalar]) -> str:
    """`5.00 / 2.00 / 1.00`: ce, mlm, cos."""
    return " / ".join(value_text(name, setting.get(name)) for name in _WEIGHTS)


def _setting_text(name: str, setting: Mapping[str, Scalar]) -> str:
    return weights_text(setting) if name == _WEIGHTS_NAME else value_text(name, setting.get(name))


def _name(trial: Trial) -> str:
    return f"trial {trial.number}" if trial.confirms is None else f"trial {trial.confirms}, seed {trial.seed}"


def _told(trial: Trial, objective: str, full_tokens: int) -> str:
    """A trial that is over, in a line."""
    further = [name for name in trial.setting if name not in ("temperature", *_WEIGHTS)]
    setting = [f"T {_setting_text('temperature', trial.setting)}", f"{_WEIGHTS_NAME} {weights_text(trial.setting)}"]
    setting += [f"{name} {value_text(name, trial.setting[name])}" for name in further]
    value = trial.objective(objective)
    parts = [", ".join(setting), described(trial, full_tokens), "" if value is None else f"{objective} {value:.4f}"]
    return "  ".join(part for part in (*parts, _cut(trial.why)) if part)


def _outcome(trial: Trial, objective: str, full_tokens: int, *, bold: bool) -> tuple[Text, Text, Text]:
    """The cells for state, progress and objective."""
    colour, value = _COLOURS[trial.state], trial.objective(objective)
    done = round(_BAR * _share(trial, full_tokens))
    bar = Text.assemble(("━" * done, colour), ("─" * (_BAR - done), "dim"))
    shown = Text("–" if value is None else f"{value:.4f}", style="bold" if bold else "")
    return Text(described(trial, full_tokens), style=colour), bar, shown


def _remark(trial: Trial, is_best: bool) -> str:
    """Why a trial failed, or what it is."""
    return _cut(trial.why) or ", ".join(["paper"] * (trial.number == 0) + ["best"] * is_best)


def _cut(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _REASON else f"{line[: _REASON - 1]}…"


def _share(trial: Trial, full_tokens: int) -> float:
    return min(1.0, trial.tokens / full_tokens)


def _most_telling(trials: Sequence[Trial], best: Trial | None, most: int | None) -> list[Trial]:
    def is_old(trial: Trial) -> bool:
        return trial.is_over and trial.number != 0 and trial is not best

    kept = sorted(trials, key=lambda trial: (is_old(trial), trial.number != 0, trial is not best, -trial.number))
    return sorted(kept[:most], key=lambda trial: trial.number)


def _count(trials: Sequence[Trial], unit: str = "trials") -> str:
    """`16 trials: 4 completed, 11 stopped early, 1 failed`."""
    states = Counter(trial.state for trial in trials)
    told = ", ".join(f"{states[state]} {state}" for state in _COLOURS if states[state])
    return f"{len(trials)} {unit}: {told}" if told else f"no {unit}"


def _roughly(seconds: float) -> str:
    """`about 9 min`: an estimate has no seconds."""
    if seconds < 45:
        return "less than a minute"
    return f"about {max(1, round(seconds / 60))} min" if seconds < 3570 else f"about {duration(seconds)}"


def _table(title: str) -> Table:
    look = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left", highlight=False)
    look.title = Text(title, style="table.title") if title else None
    return look


def _column(table: Table, name: str, *, left: bool) -> None:
    header = Text(name.replace("heldout_", "heldout\n"))  # or the name would be thrice as wide as the figures
    table.add_column(header, justify="left" if left else "right", no_wrap=True)


def _natural_width(terminal: Terminal, table: Table) -> int:
    return terminal.measure(table, options=terminal.options.update(max_width=1000)).maximum


def _ignore(*_: object) -> None:
    """The ledger says more."""
