"""Which run a RUN on the command line means: `latest`, a workdir, or MLflow's id of it.

A run whose workdir is here is found without MLflow, which is imported only to ask for another: it takes seconds.
"""

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import yaml

from pipeline.config.nearest_name import nearest
from pipeline.config.serialisation import from_plain
from pipeline.records.workdir import NAME, read_run
from pipeline.tracking.config import TrackingConfig
from stages.errors import InputError

RUNS = Path("runs")
"""Where recipes put their workdirs, below the folder that a command is called from."""


def find_workdir(run: str, runs: Path = RUNS) -> Path:
    """The workdir that RUN means: an MLflow run id, a workdir, or `latest`; raises `InputError` where it means none."""
    known = workdirs(runs)
    if run == "latest":
        if not known:
            raise InputError(f"there is no run below {runs.resolve()} yet: start one with `distil run demo`.")
        return known[0]
    if read_run(Path(run)) is not None:
        return Path(run).resolve()
    if read_run(runs / run) is not None:  # `demo` for runs/demo
        return (runs / run).resolve()
    for workdir in known:
        found = read_run(workdir)
        if found is not None and run in found.mlflow_run_ids:
            return workdir
    if re.fullmatch("[0-9a-f]{32}", run):  # it ran elsewhere on this machine, or on another one
        from pipeline.records.elsewhere.downloaded_run import fetch
        from pipeline.tracking.run import workdir_of

        workdir = Path(workdir_of(TrackingConfig(), run))
        return workdir if read_run(workdir) is not None else fetch(TrackingConfig(), run, runs / run)
    raise InputError(_not_found(run, known))


def tracking_of(run: str | None, runs: Path = RUNS) -> TrackingConfig:
    """Where a run was recorded, by its run.json, or by its config where an older version wrote that; with None the
    latest's, or the default where there is none."""
    if run is None and not workdirs(runs):
        return TrackingConfig()
    workdir = find_workdir(run or "latest", runs)
    found = read_run(workdir)
    assert found is not None, f"{workdir} was found by its {NAME}"
    if found.tracking_uri is not None:
        return TrackingConfig(uri=found.tracking_uri)
    file = workdir / found.config
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        return from_plain(TrackingConfig, data["tracking"], "tracking", complete=False)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{file} does not say where the run was recorded ({error}): give another --run.") from error


def workdirs(runs: Path = RUNS) -> list[Path]:
    """The workdirs right below `runs`, the one whose run started or ended last first."""
    return newest_first([file.parent for file in runs.resolve().glob(f"*/{NAME}")])


def newest_first(workdirs: Iterable[Path]) -> list[Path]:
    """By what their run.json says; one that is damaged by when it was written."""
    return sorted(workdirs, key=_last, reverse=True)


def _last(workdir: Path) -> datetime:
    try:
        run = read_run(workdir)
        assert run is not None, f"{workdir} was found by its {NAME}"
        return datetime.fromisoformat(run.last).astimezone(UTC)
    except ValueError:  # InputError is one
        return datetime.fromtimestamp(os.path.getmtime(workdir / NAME), UTC)


def _not_found(run: str, known: list[Path]) -> str:
    if Path(run).is_dir():
        return f"{run} is no workdir of a run, as it has no {NAME}: give another, an MLflow run id, or `latest`."
    near = nearest(run, [path.name for path in known])
    hint = f"did you mean {RUNS / near}?" if near else "give a workdir, an MLflow run id, or `latest`."
    return f"there is no run {run}; {hint}"
