"""What is shown of a smaller classifier: a table at the end, and Markdown in MLflow."""

from pathlib import Path

from rich.table import Table

from pipeline.classifier.report import TaskReport, read_task_report
from pipeline.cli.console import Console
from pipeline.cli.progress_rate import amount
from pipeline.records.workdir import read_run
from pipeline.tracking.pages import of_text
from stages.classifier.artifact import ClassifierScore, Shrunk
from stages.classifier.card import figures
from stages.publish.task_figures import metric_title


def show(workdir: Path, console: Console) -> None:
    """The table, and where the model and the run are; nothing where the workdir's run has no report."""
    report, run = read_task_report(workdir), read_run(workdir)
    if report is None or run is None or report.mlflow_run_id not in run.mlflow_run_ids:
        return
    console.terminal.print(table_of(report))
    for note in report.notes:
        console.say(f"note:  {note}")
    console.say(f"model: {report.model_uri} (@candidate{', @champion' if report.champion else ''})")
    console.say(f"gate:  {report.verdict}")
    console.say(f"files: {workdir}  (report.json, config.yaml, {report.folders.student})")
    console.say(f"run:   {report.mlflow_run_id} in MLflow; `distil ui` shows it")


def table_of(report: TaskReport) -> Table:
    """Teacher and student side by side, and what was kept."""
    low, high = (f"{100 * end:.1f}" for end in report.interval)
    table = Table(title=f"{report.task}, {report.n:,} examples of dev", title_justify="left", highlight=False)
    for column in ("", "teacher", "student", "kept"):
        table.add_column(column, justify="right" if column else "left")

    def row(title: str, teacher: str, student: str, kept: str = "") -> None:
        table.add_row(title, teacher, student, kept)

    def of(model: ClassifierScore) -> tuple[str, str, str, str]:
        size, time = f"{model.bytes / 1e6:.1f} MB", f"{model.latency_ms:.1f} ms"
        return f"{model.score:.4f}", amount(model.parameters), size, time

    (score, parameters, size, time), (ours, small, light, fast) = of(report.teacher), of(report.student)
    row(metric_title(report.metric), score, ours, f"{report.kept:.1%} ({low} to {high} %)")
    for metric, other in report.teacher.others.items():
        row(metric_title(metric), f"{other:.4f}", f"{report.student.others[metric]:.4f}")
    row("parameters", parameters, small, f"{report.size_ratio:.1%}")
    row("bytes (fp32)", size, light)
    row("one example", time, fast, f"{report.speedup:.2f} × faster")
    table.caption, table.caption_justify = "interval: 95 % over examples; nothing was chosen by dev", "left"
    return table


def page_of(shrunk: Shrunk, name: str, verdict: str, command: str) -> str:
    """A run's description in MLflow."""
    text = f"`{name}`: a smaller model for {shrunk.task}.\n\n{figures(shrunk)}\n\nGate: {verdict}."
    return of_text(text, command)
