"""`distil runs`: the runs of a folder, from what each left in its workdir; MLflow is not asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from pipeline.cli.answers.formats import in_columns
from pipeline.records.report import RunReport, read_report
from pipeline.records.which_run import RUNS, newest_first, workdirs
from pipeline.records.workdir import NAME, RunFile, read_run
from pipeline.runtime.lock_owner import is_held
from stages.errors import InputError

State = Literal["finished", "running", "stopped", "damaged"]
NONE = "–"
"""In text, for what is not known."""
_HEAD = ("recipe", "state", "kept", "loss", "when (UTC)", "where")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A workdir's newest run. Field names are a contract with whoever reads the JSON: docs/cli.md."""

    workdir: str
    state: State
    recipe: str | None = None
    started: str | None = None
    finished: str | None = None
    kept_top1: float | None = None
    mlm_loss: float | None = None
    mlflow_run_id: str | None = None
    tracking_uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The answer."""

    runs: tuple[Row, ...]


def runs_in(folders: Sequence[str]) -> Runs:
    """Those right below `runs/`, or of the folders given, each a workdir or a folder of some; the newest first. Raises
    `InputError` for a folder that is not there."""
    found: list[Path] = []
    for folder in map(Path, folders or [str(RUNS)]):
        if folders and not folder.is_dir():
            raise InputError(f"there is no folder {folder}: give a workdir, or a folder that holds some.")
        found += [folder.resolve()] if (folder / NAME).exists() else workdirs(folder)
    return Runs(runs=tuple(map(row_of, newest_first(dict.fromkeys(found)))))


def row_of(workdir: Path) -> Row:
    """What a workdir says of its newest run."""
    try:
        run = read_run(workdir)
        assert run is not None, f"{workdir} was found by its {NAME}"
    except InputError:
        return Row(workdir=str(workdir), state="damaged")
    report = report_of(workdir, run)
    return Row(
        workdir=str(workdir),
        state="finished" if run.finished else "running" if is_held(workdir) else "stopped",
        recipe=report.recipe if report else _recipe(workdir / run.config),
        started=run.started,
        finished=run.finished,
        kept_top1=report.kept_top1 if report else None,
        mlm_loss=report.student.mlm_loss if report else None,
        mlflow_run_id=run.mlflow_run_ids[-1] if run.mlflow_run_ids else None,
        tracking_uri=run.tracking_uri,
    )


def report_of(workdir: Path, run: RunFile) -> RunReport | None:
    """The report of the newest run alone: one that an earlier run left says nothing of it."""
    report = read_report(workdir)
    return report if report is not None and run.mlflow_run_ids[-1:] == (report.mlflow_run_id,) else None


def as_text(found: Runs, folders: Sequence[str]) -> str:
    """A line a run."""
    if not found.runs:
        places = ", ".join(str(Path(folder).resolve()) for folder in folders or [str(RUNS)])
        return f"there is no run below {places} yet: start one with `distil run demo`."
    return in_columns([_HEAD, *map(_line, found.runs)])


def near(workdir: str) -> str:
    """A workdir's path, from here where it lies below."""
    path, here = Path(workdir), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else workdir


def when(row: Row) -> str:
    """To the minute: when a run ended, or began where it has not."""
    time = row.finished or row.started
    return time[:16].replace("T", " ") if time else NONE


def _line(row: Row) -> tuple[str, ...]:
    return (
        row.recipe or NONE,
        row.state,
        NONE if row.kept_top1 is None else f"{row.kept_top1:.1%}",
        NONE if row.mlm_loss is None else f"{row.mlm_loss:.3f}",
        when(row),
        near(row.workdir),
    )


def _recipe(config: Path) -> str | None:
    """The name in a config of whichever version; None where it cannot be read."""
    try:
        name = yaml.safe_load(config.read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    return name if isinstance(name, str) else None
