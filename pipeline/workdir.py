"""The folder of a run: whether it can be written, its run.json, and which one a RUN on the command line means."""

import json
import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import yaml

from pipeline.names import nearest
from pipeline.plain import from_plain, to_plain
from pipeline.store import TrackingConfig
from stages.errors import InputError
from stages.storage import Folder

NAME = "run.json"
RUNS = Path("runs")
"""Where recipes put their workdirs, below the folder that a command is called from."""


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """The content of `<workdir>/run.json`: what a command needs to find the run again."""

    config: str
    """The resolved config's file, relative to the workdir."""
    mlflow_run_ids: tuple[str, ...]
    """Of every run in this workdir, the newest last."""
    started: str
    finished: str | None
    """ISO 8601, UTC; None while it runs, and after it failed."""


def check_writable(workdir: str) -> Path:
    """The workdir, made where it was not there; raises `InputError` where nothing can be written into it."""
    if "://" in workdir:
        raise InputError(f"workdir is {workdir} but must be on this machine: give {workdir} as storage instead.")
    path = Path(workdir).expanduser().resolve()
    trial = path / f".writable-{uuid4().hex[:8]}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise InputError(
            f"workdir {path} cannot be written ({error.strerror}): give another with --workdir."
        ) from error
    return path


def begin_run(workdir: Path, *, config: str, mlflow_run_id: str | None) -> None:
    """Write run.json as a run starts; from now on it is `latest`."""
    before = read_run(workdir)
    earlier = before.mlflow_run_ids if before else ()
    ids = tuple(dict.fromkeys((*(one for one in earlier if one != mlflow_run_id), *filter(None, [mlflow_run_id]))))
    _write(workdir, RunFile(config=config, mlflow_run_ids=ids, started=_now(), finished=None))


def end_run(workdir: Path) -> None:
    """Note in run.json that the run is whole."""
    run = read_run(workdir)
    if run is None:
        raise FileNotFoundError(workdir / NAME)
    _write(workdir, replace(run, finished=_now()))


def read_run(workdir: Path) -> RunFile | None:
    """The run.json of a workdir; None where there is none. Raises `InputError` for a damaged one."""
    path = workdir / NAME
    try:
        return from_plain(RunFile, json.loads(path.read_text(encoding="utf-8")), lenient=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:  # InputError and JSONDecodeError are ValueErrors
        raise InputError(f"{path} cannot be read ({error}): remove it, or give another run.") from error


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
        from pipeline.fetched import fetch
        from pipeline.tracking import workdir_of

        workdir = Path(workdir_of(TrackingConfig(), run))
        return workdir if read_run(workdir) is not None else fetch(TrackingConfig(), run, runs / run)
    raise InputError(_not_found(run, known))


def tracking_of(run: str | None, runs: Path = RUNS) -> TrackingConfig:
    """Where a run was recorded, by its resolved config; with None the latest's, or the default where there is none."""
    if run is None and not workdirs(runs):
        return TrackingConfig()
    workdir = find_workdir(run or "latest", runs)
    found = read_run(workdir)
    assert found is not None, f"{workdir} was found by its {NAME}"
    file = workdir / found.config
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        return from_plain(TrackingConfig, data["tracking"], "tracking", complete=False)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{file} does not say where the run was recorded ({error}): give another --run.") from error


def workdirs(runs: Path = RUNS) -> list[Path]:
    """The workdirs right below `runs`, the one whose run started or ended last first."""
    files = runs.resolve().glob(f"*/{NAME}")
    return [file.parent for file in sorted(files, key=os.path.getmtime, reverse=True)]


def _not_found(run: str, known: list[Path]) -> str:
    if Path(run).is_dir():
        return f"{run} is no workdir of a run, as it has no {NAME}: give another, an MLflow run id, or `latest`."
    near = nearest(run, [path.name for path in known])
    hint = f"did you mean {RUNS / near}?" if near else "give a workdir, an MLflow run id, or `latest`."
    return f"there is no run {run}; {hint}"


def _write(workdir: Path, run: RunFile) -> None:
    Folder(str(workdir)).write_bytes(NAME, json.dumps(to_plain(run), indent=2).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
