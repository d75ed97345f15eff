"""`distil sync`, and what a command does first in a workdir where something waits for MLflow."""

from collections.abc import Callable
from pathlib import Path

from pipeline.tracking.away.undelivered import NAME, MlflowAway, Undelivered, deliver, kept, rewrite, summary
from pipeline.tracking.checks.client import hurried, quiet_mlflow
from pipeline.tracking.checks.probe import cause_of, probe
from pipeline.tracking.delivery import first_line
from pipeline.tracking.retry import is_refusal
from stages.errors import InputError


def deliver_kept(workdir: Path, say: Callable[[str], object]) -> frozenset[str]:
    """Deliver what waits in a workdir; gives the ids of the runs that came to their end by it, as FINISHED.

    Raises `MlflowAway` where a server does not answer, with what was delivered until then taken off, and `InputError`
    for what MLflow refuses. Nobody else may be at work in the workdir.
    """
    finished: set[str] = set()
    waiting = kept(workdir)
    while waiting:
        item = waiting[0]
        _deliver(workdir, item, waiting)
        say(f"delivered to MLflow at {item.store}: {summary([item])}, of run {item.run_id}")
        waiting = waiting[1:]
        rewrite(workdir, waiting)
        if item.status == "FINISHED":
            finished.add(item.run_id)
    return frozenset(finished)


def _deliver(workdir: Path, item: Undelivered, waiting: list[Undelivered]) -> None:
    """One of them; the server is asked first whether it is there, as MLflow tries for half a minute."""
    mlflow = quiet_mlflow()
    try:
        probe(item.store)
        with hurried(60):
            deliver(mlflow.MlflowClient(item.store), item)
    except Exception as error:  # a store raises what it likes, and so does that of the files
        if is_refusal(error):
            raise InputError(
                f"MLflow at {item.store} refuses what waits for run {item.run_id} ({first_line(error).rstrip('.')}): "
                f"remove {workdir / NAME} to give it up."
            ) from error
        raise MlflowAway(
            f"MLflow still lacks {summary(waiting)}, and is away ({cause_of(error)}): `distil sync {workdir}` or the "
            "same command delivers it."
        ) from error
