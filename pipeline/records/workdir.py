"""The folder of a run: whether it can be written, and its run.json."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pipeline.config.serialisation import from_plain, to_plain
from stages.errors import InputError
from stages.storage import Folder

NAME, CONFIG = "run.json", "config.yaml"
"""In the workdir: what a command needs to find the run; the resolved config, from which `distil run --config` makes the
run again."""


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
    tracking_uri: str | None = None
    """Where in MLflow the newest of these runs is, absolute; None where an older version wrote this file."""

    @property
    def last(self) -> str:
        """When the newest run ended, or began where it has not."""
        return self.finished or self.started


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


def begin_run(workdir: Path, *, config: str, mlflow_run_id: str | None, tracking_uri: str | None = None) -> None:
    """Write run.json as a run starts; from now on it is `latest`. `tracking_uri` must mean the same from any folder."""
    before = read_run(workdir)
    earlier = before.mlflow_run_ids if before else ()
    ids = tuple(dict.fromkeys((*(one for one in earlier if one != mlflow_run_id), *filter(None, [mlflow_run_id]))))
    run = RunFile(config=config, mlflow_run_ids=ids, started=_now(), finished=None, tracking_uri=tracking_uri)
    _write(workdir, run)


def note_run(workdir: Path, run: RunFile) -> None:
    """Write run.json of a run that was made elsewhere, with its own times: looking at it makes it no newer."""
    _write(workdir, run)


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


def _write(workdir: Path, run: RunFile) -> None:
    Folder(str(workdir)).write_bytes(NAME, json.dumps(to_plain(run), indent=2).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
