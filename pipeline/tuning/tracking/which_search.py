"""Where searches lie, which one a RUN on the command line means, and what a run takes over from it."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from pipeline.config.nearest_name import nearest
from pipeline.config.schema import PipelineConfig, override
from pipeline.records.record import Stale, read_artifact, read_record
from pipeline.records.which_run import RUNS
from pipeline.records.workdir import CONFIG
from pipeline.tracking.config import TrackingConfig
from pipeline.tuning.verdict import Search
from stages.errors import InputError
from stages.storage import Folder

STAGE = "search"
"""A search lies in `<root>/search/<fingerprint>`, as a stage of this name would."""
STARTED = "search.json"
"""In a search's folder from its start: a table with `mlflow_run_id`."""


@dataclass(frozen=True, kw_only=True)
class SearchFolder:
    """A search in a workdir, finished or not."""

    workdir: Path
    run_id: str | None
    """Its run in MLflow; None where nothing tells it."""
    search: Search | None = None
    """None where nothing can be taken from it: `lack` says why."""
    lack: str = ""
    finished: str = ""
    """ISO 8601, UTC."""


def find_search(run: str, runs: Path = RUNS, tracking: TrackingConfig | None = None) -> Search:
    """The finished search that RUN means: its MLflow run id, a workdir or its name below `runs`, or `latest`.

    Of several, the one that finished last. An id that no workdir here has is one of another machine's: then MLflow, at
    `tracking`, has what came of it. Raises `InputError` where there is none, and where it has not finished.
    """
    workdirs = _workdirs(runs)
    if run == "latest":
        return _newest(_search_folders(workdirs), f"below {runs.resolve()}")
    for workdir in (Path(run).resolve(), (runs / run).resolve()):  # `demo` for runs/demo
        if workdir in workdirs or (workdir / CONFIG).is_file() or (workdir / STAGE).is_dir():
            return _newest(_search_folders([workdir]), f"in {workdir}")
    found = [place for place in _search_folders(workdirs) if place.run_id == run]
    if not found and re.fullmatch("[0-9a-f]{32}", run):
        from pipeline.tuning.tracking.downloaded_search import fetch  # MLflow: seconds

        return fetch(tracking or TrackingConfig(), run)
    if not found:
        raise InputError(_not_found(run, workdirs))
    return _newest(found, "")


def adopt(config: PipelineConfig, search: Search) -> PipelineConfig:
    """`config` with the setting that the search confirmed, and with where it is from."""
    setting = [(f"distil.{name}", str(value)) for name, value in search.verdict.winner.setting.items()]
    return replace(override(config, setting), from_search=search.mlflow_run_id)


def told(search: Search) -> str:
    """Which search, which trial, and whether it is better than the paper's setting, in a line."""
    verdict = search.verdict
    trial = f"search {search.mlflow_run_id}: trial {verdict.winner.trial}"
    if verdict.best is not None and verdict.is_better:
        by = f"{search.objective} is lower by {verdict.gain:.4f} ± {verdict.spread:.4f}"
        return f"{trial}, better than the paper's setting ({by})"
    other = "no other was confirmed" if verdict.best is None else f"trial {verdict.best.trial} is no better"
    return f"{trial}, the paper's setting ({other})"


def _newest(places: Iterable[SearchFolder], where: str) -> Search:
    """The search that finished last; raises `InputError` where none has."""
    found = sorted(places, key=lambda place: place.finished)  # those that have not come first
    if not found:
        raise InputError(f"there is no search {where} yet: make one with `distil tune demo`.")
    newest = found[-1]
    if newest.search is None:
        raise InputError(f"the search in {newest.workdir} {newest.lack}")
    return newest.search


def _workdirs(runs: Path) -> list[Path]:
    """The workdirs right below `runs`."""
    return sorted(folder for folder in runs.resolve().glob("*") if folder.is_dir())


def _search_folders(workdirs: Sequence[Path]) -> Iterator[SearchFolder]:
    for workdir in workdirs:
        for root in _roots(workdir):
            for name in (root / STAGE).names():
                if re.fullmatch("[0-9a-f]+", name):  # a fingerprint
                    yield _search_folder(workdir, root / STAGE / name)


def _search_folder(workdir: Path, folder: Folder) -> SearchFolder:
    command, run_id = _command(workdir), _run_id(folder)
    try:
        record = read_record(folder)
        if record is None:
            return SearchFolder(workdir=workdir, run_id=run_id, lack=f"has not finished: {command} continues it.")
        search = read_artifact(Search, record, folder)
    except Stale as error:
        return SearchFolder(
            workdir=workdir, run_id=run_id, lack=f"cannot be used, as {error}: {command} makes it again."
        )
    return SearchFolder(workdir=workdir, run_id=search.mlflow_run_id, search=search, finished=record.finished)


def _run_id(folder: Folder) -> str | None:
    try:
        return str(json.loads(folder.read_bytes(STARTED))["mlflow_run_id"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not whole
        return None


def _roots(workdir: Path) -> list[Folder]:
    """Where the workdir's searches may lie: in itself, and in the storage that its config names."""
    storage = _written(workdir).get("storage")
    return list(dict.fromkeys([Folder(str(workdir)), *([Folder(storage)] if isinstance(storage, str) else [])]))


def _command(workdir: Path) -> str:
    """The command that made, or began, the search in a workdir; options apart."""
    name = _written(workdir).get("name", workdir.name)
    return f"`distil tune {name}`" if name == workdir.name else f"`distil tune {name} --workdir {workdir}`"


def _written(workdir: Path) -> dict[str, object]:
    """The workdir's resolved config as plain data; empty where there is none, or none that can be read."""
    try:
        data = yaml.safe_load((workdir / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}


def _not_found(run: str, workdirs: Sequence[Path]) -> str:
    if Path(run).is_dir():
        return f"{run} is no workdir of a search: give another, the MLflow run id of a search, or `latest`."
    near = nearest(run, [folder.name for folder in workdirs])
    hint = f"did you mean {RUNS / near}?" if near else "give its MLflow run id, a workdir, or `latest`."
    return f"there is no search {run}; {hint}"
