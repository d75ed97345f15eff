"""One MLflow run for a pipeline run: started or continued, and ended with what became of it.

With `live_run.py` and `registry.py` the only place that knows MLflow; stages call the `on_metrics` they are given. One
process, the driver, makes the experiment and the run. MLflow is imported when a run starts: it takes 1.5 s.
"""

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.runtime.environment import environment
from pipeline.runtime.signals import Terminated
from pipeline.tracking.away.undelivered import MlflowAway
from pipeline.tracking.checks.client import quiet_mlflow
from pipeline.tracking.checks.probe import check_experiment
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.delivery import first_line
from pipeline.tracking.live_run import LiveRun, legal
from pipeline.tracking.pages import NOTE, lacking, of_experiment
from pipeline.tracking.store import URI_VARIABLE, Store, store_of, tidied
from stages.errors import InputError, Preempted

log = logging.getLogger(__name__)

INHERITED = (
    "MLFLOW_RUN_ID",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_ACTIVE_MODEL_ID",
    "_MLFLOW_ACTIVE_MODEL_ID",
)
"""By these MLflow hands a program somebody else's run, experiment or model: a notebook's, a job's, an agent's. Which
run is written into, our config and run.json say."""


@dataclass(frozen=True, kw_only=True)
class RunAbout:
    """What a run is called and what it is made from; all of it is searchable in MLflow."""

    name: str
    """The recipe's."""
    workdir: str
    fingerprint: str
    parameters: Mapping[str, object]
    """The fields of the resolved config that bear on the run, by their dotted paths."""
    yaml: str
    """The resolved config; saved as config.yaml, from which the run can be made again."""
    hardware: str = ""
    run_id: str | None = None
    """A run to continue; None starts one."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Further ones."""
    description: str = ""
    """What its page says until there are figures, in Markdown."""


@contextmanager
def run(config: TrackingConfig, about: RunAbout, say: Callable[[str], object] = log.warning) -> Iterator[LiveRun]:
    """Start a run, or continue `about.run_id`, and end it with what became of the block.

    FINISHED, KILLED for Ctrl-C and SIGTERM, FAILED for everything else that is raised; the tag `error` says why. Raises
    `InputError` for a run that the store does not know. `say` is told where the end has to wait for a server.
    """
    mlflow = quiet_mlflow()
    store = store_of(config)
    if store.file:
        store.file.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(store.uri)  # child processes inherit it
    try:
        with tidied(store), _own(say):
            live = _start(mlflow, config, store, about, say)
            with ending(live):
                live.check_files(about.yaml)
                yield live
    finally:
        mlflow.set_tracking_uri(None)  # given back to the environment: what is set here would win over it ever after
        if before is not None:
            os.environ[URI_VARIABLE] = before


@contextmanager
def _own(say: Callable[[str], object]) -> Iterator[None]:
    """Take MLflow's word of somebody else's run out of the environment while the block runs; child processes would
    inherit it too."""
    inherited = {name: os.environ.pop(name) for name in INHERITED if name in os.environ}
    if inherited:
        say(f"not taken from the environment: {', '.join(inherited)}; this run is recorded as one of its own")
    try:
        yield
    finally:
        os.environ.update(inherited)


@contextmanager
def ending(live: LiveRun) -> Iterator[None]:
    """End the run with what became of the block."""
    try:
        yield
    except (Terminated, Preempted) as stop:
        live.close("KILLED", f"stopped by {stop.signal}", in_a_hurry=True)
        raise
    except KeyboardInterrupt:
        live.close("KILLED", "interrupted", in_a_hurry=True)
        raise
    except MlflowAway as error:  # it was waited for already
        live.close("FAILED", str(error), in_a_hurry=True)
        raise
    except BaseException as error:
        live.close("FAILED", f"{type(error).__name__}: {first_line(error)}")
        raise
    live.close("FINISHED")


def workdir_of(config: TrackingConfig, run: str) -> str:
    """The workdir of a run by its id, or of the newest run there is for `latest`; raises `InputError` if unknown."""
    mlflow = quiet_mlflow()
    store = store_of(config)
    if store.file and not store.file.exists():
        raise InputError(f"there is no run {run} in {store.uri}, which does not exist yet.")
    try:
        with tidied(store):
            client = mlflow.MlflowClient(store.uri)
            found = _newest(client, config) if run == "latest" else client.get_run(run)
    except mlflow.exceptions.MlflowException as error:
        raise InputError(f"there is no run {run} in {store.uri}: {first_line(error)}") from error
    if found is None or "workdir" not in found.data.tags:
        raise InputError(f"there is no run {run} with a workdir in {store.uri}.")
    return found.data.tags["workdir"]


def _start(mlflow: Any, config: TrackingConfig, store: Store, about: RunAbout, say: Callable[[str], object]) -> LiveRun:
    """The experiment (made once), the run, and what is known before the first stage."""
    client = mlflow.MlflowClient(store.uri)
    experiment_id, lacks = _experiment(client, config, store)
    measurable = config.system_metrics and importlib.util.find_spec("psutil") is not None
    try:
        started = mlflow.start_run(
            run_id=about.run_id,
            experiment_id=None if about.run_id else experiment_id,
            run_name=None if about.run_id else f"{about.name} {time.strftime('%Y-%m-%d %H:%M')}",
            tags=_tags(about),
            log_system_metrics=measurable,
        )
    except mlflow.exceptions.MlflowException as error:
        name, why = about.run_id or about.name, first_line(error).rstrip(".")
        remedy = ": give the tracking.uri that has it, or another --workdir" if about.run_id else ""
        raise InputError(f"run {name} cannot start in {store.uri}: {why}{remedy}.") from error
    live = LiveRun(mlflow, store, started, Path(about.workdir), continued=about.run_id is not None, say=say)
    if config.system_metrics and not measurable:
        live.problems.append("system metrics need psutil: pip install psutil")
    known = started.data.params  # a parameter is written once; config.yaml tells what a continued run runs with
    live.tell("the parameters", params={legal(k): str(v) for k, v in about.parameters.items() if legal(k) not in known})
    if lacks:
        live.tell("the experiment's description", experiment=lacks)
    if about.description:
        live.tell("the description", description=about.description)
    if "error" in started.data.tags:  # of an earlier start
        live.tell("that it goes on", no_tag="error")
    return live


def _experiment(client: Any, config: TrackingConfig, store: Store) -> tuple[str, dict[str, str]]:
    """Its id, and the tags that it still lacks: it may be older than these, or made by hand."""
    found, wanted = client.get_experiment_by_name(config.experiment), of_experiment()
    if found is None:
        return client.create_experiment(config.experiment, artifact_location=store.artifacts, tags=wanted), {}
    check_experiment(found, config.experiment)
    if found.tags.get(NOTE):  # with the newest run in it
        del wanted[NOTE]
    return found.experiment_id, lacking(found.tags, wanted)


def _newest(client: Any, config: TrackingConfig) -> Any:
    """The run of this experiment that started last, or None."""
    experiment = client.get_experiment_by_name(config.experiment)
    ids = [experiment.experiment_id] if experiment else []
    workdir = "tags.workdir != ''"  # a search's trials have none
    found = client.search_runs(ids, workdir, order_by=["start_time DESC"], max_results=1) if ids else []
    return next(iter(found), None)


def _tags(about: RunAbout) -> dict[str, str]:
    here = environment()
    tags = {
        "recipe": about.name,
        "workdir": about.workdir,
        "fingerprint": about.fingerprint,
        "hardware": about.hardware,
        "git_commit": here.commit,
        "git_dirty": None if here.dirty is None else str(here.dirty).lower(),
        "mlflow.source.git.commit": here.commit,
    }
    return {name: value for name, value in tags.items() if value} | dict(about.tags)
