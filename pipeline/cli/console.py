"""What a person sees: one line a stage, a bar while it lasts, the table at the end. On a terminal and in a log file."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console as Terminal
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.cli.progress_rate import ProgressRate, amount, duration
from pipeline.config.redaction import redacted

if TYPE_CHECKING:  # both bring more than a `--help` should wait for
    from pipeline.records.report import RunReport
    from pipeline.records.reuse import StageResult
    from stages.evaluation.artifact import ModelScore, Report

_LOG_SECONDS = 10.0
"""Between two lines of progress where there is no terminal to draw a bar on."""
_NAME_WIDTH = 16
_REASONS = 5


class Console:
    """Implements `records.reuse.Watch` for a person. Everything goes to one `Terminal`, standard output by default."""

    def __init__(self, terminal: Terminal | None = None, *, verbose: bool = False) -> None:
        self.verbose = verbose  # for whoever starts something that talks: Ray's workers, say
        self.terminal = terminal or Terminal(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line, as it is but for secrets."""
        self.terminal.print(escape(redacted(text)))

    def line(self, sign: str, name: str, rest: str) -> None:
        """A sign, a name, mostly a stage's, in a column of its own, and the rest; sign and rest may have markup."""
        self.terminal.print(f"{sign} {escape(name):<{_NAME_WIDTH}} {redacted(rest)}")

    @contextmanager
    def running(self, stage: str, why: tuple[str, ...]) -> Iterator[Callable[[float, float, str], None]]:
        """Around a stage that runs: its bar or its lines while it does, and how long it took in the end."""
        started = time.monotonic()
        show = _Bar if self.terminal.is_terminal else _Lines
        with show(self.terminal, stage, why) as on_progress:
            try:
                yield on_progress
            except BaseException:
                self.line("[red]✗[/red]", stage, f"stopped after {duration(time.monotonic() - started)}")
                raise
        self.line("[green]✓[/green]", stage, f"{duration(time.monotonic() - started)}  {reasons(why)}")

    def reused(self, made: "StageResult[Any]") -> None:
        """The line of a stage whose record was there."""
        by = escape(f" with {made.made_with}") if made.made_with else ""
        self.line("[cyan]=[/cyan]", made.stage, f"reused  (took {duration(made.seconds)} when it was made{by})")

    def planned(self, made: "StageResult[Any]") -> None:
        """The line of a stage in `distil describe`."""
        mark = f"[dim]{made.fingerprint}[/dim]"
        if made.reused:
            by = escape(f"  (made with {made.made_with})") if made.made_with else ""
            self.line("[cyan]=[/cyan]", made.stage, f"{mark}  would be reused{by}")
        else:
            self.line("[yellow]→[/yellow]", made.stage, f"{mark}  would run: {escape(in_short(made.why))}")

    def report(self, report: "Report | RunReport") -> None:
        """The table of what was kept, on held-out text and on tasks."""
        self.terminal.print(score_table(report))
        if tasks := getattr(report, "tasks", None):
            from pipeline.cli.answers.task_table import task_table

            self.terminal.print(task_table(tasks))


def reasons(why: tuple[str, ...]) -> str:
    """Why a stage runs, as its line ends; empty where there is nothing to say. With markup."""
    return f"[dim]({escape(in_short(why))})[/dim]" if why else ""


def in_short(why: tuple[str, ...]) -> str:
    """The first few reasons, and how many more there are: a corpus of a thousand files may have a thousand."""
    more = f"; and {len(why) - _REASONS} more" if len(why) > _REASONS else ""
    return redacted("; ".join(why[:_REASONS])) + more


class _Bar:
    """A bar that vanishes when its stage is over, for the line that says how long it took."""

    def __init__(self, terminal: Terminal, stage: str, why: tuple[str, ...]) -> None:
        self._progress_rate = ProgressRate()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(f"{escape(stage):<{_NAME_WIDTH - 1}}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[progress_rate]}"),
            TimeElapsedColumn(),
            console=terminal,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task(stage, total=None, progress_rate=reasons(why))

    def __enter__(self) -> Callable[[float, float, str], None]:
        self._progress.start()
        return self._update

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _update(self, done: float, total: float, unit: str) -> None:
        self._progress_rate.update(time.monotonic(), done)
        text = described(self._progress_rate, done, total, unit)
        self._progress.update(self._task, completed=done, total=total or None, progress_rate=text)


class _Lines:
    """A line now and then, for a log file: the first after ten seconds, as short stages need none."""

    def __init__(self, terminal: Terminal, stage: str, why: tuple[str, ...]) -> None:
        self._terminal, self._stage, self._why = terminal, stage, why
        self._progress_rate = ProgressRate()
        self._last = time.monotonic()
        self._lock = threading.Lock()  # progress may come from a thread that polls a cluster

    def __enter__(self) -> Callable[[float, float, str], None]:
        self._terminal.print(f"… {escape(self._stage):<{_NAME_WIDTH}} running  {reasons(self._why)}")
        return self._update

    def __exit__(self, *_: object) -> None:
        """Nothing to tidy up."""

    def _update(self, done: float, total: float, unit: str) -> None:
        with self._lock:
            now = time.monotonic()
            self._progress_rate.update(now, done)
            if now - self._last < _LOG_SECONDS:
                return
            self._last = now
        share = f"{done / total:4.0%}  " if total else ""
        text = described(self._progress_rate, done, total, unit)
        self._terminal.print(f"… {escape(self._stage):<{_NAME_WIDTH}} {share}{text}")


def described(progress_rate: ProgressRate, done: float, total: float, unit: str) -> str:
    """`120 of 3,000 steps  4.1 steps/s  11 min 42 s left`, as far as it is known."""
    count = f"{amount(done)} of {amount(total)} {unit}" if total else f"{amount(done)} {unit}"
    rate, left = progress_rate.per_second, progress_rate.seconds_left(total) if total else None
    speed = f"{amount(rate)} {unit}/s" if rate else ""
    return escape(
        "  ".join(part for part in (count, speed, f"{duration(left)} left" if left is not None else "") if part)
    )


def score_table(report: "Report | RunReport") -> Table:
    """Teacher, student at step 0, student, and what was kept of the teacher."""
    from stages.evaluation.artifact import LOSS  # more than a `--help` should wait for

    teacher, first, student = report.teacher, report.student_at_init, report.student

    def row(name: str, shown: Callable[["ModelScore"], str], kept: str = "") -> tuple[str, ...]:
        return name, shown(teacher), shown(first), shown(student), kept

    table = Table(title="held-out text", title_justify="left", highlight=False)
    for column in ("", "teacher", "student at step 0", "student", "kept"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(*row("top-1 accuracy", lambda score: f"{score.top1:.3f}", f"{report.kept_top1:.1%}"))
    table.add_row(*row(LOSS[report.objective], lambda score: f"{score.mlm_loss:.3f}"))
    table.add_row(*row("perplexity", lambda score: f"{score.perplexity:,.1f}"))
    table.add_row(*row("parameters", lambda score: amount(score.parameters), f"{report.size_ratio:.1%}"))
    table.add_row(*row("bytes (fp32)", lambda score: f"{score.bytes / 1e6:.1f} MB"))
    table.add_row(
        *row("encoder, one block", lambda score: f"{score.latency_ms:.1f} ms", f"{report.speedup:.2f} × faster")
    )
    agreement = f"{report.agreement:.1%} agree · KL {report.kl:.3f} · cosine {report.cosine:.3f}"
    table.caption, table.caption_justify = f"student and teacher: {agreement}", "left"
    return table
