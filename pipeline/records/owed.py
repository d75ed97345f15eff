"""What runs in a workdir owe MLflow, delivered before anything else there, or by `distil sync`."""

from collections.abc import Callable
from pathlib import Path

from pipeline.records.workdir import end_run, read_run
from pipeline.runtime.lock import locked
from pipeline.tracking.away.sync import deliver_kept
from pipeline.tracking.away.undelivered import MlflowAway, kept
from stages.errors import InputError
from stages.storage import Folder


def deliver_owed(workdir: Path, say: Callable[[str], object]) -> frozenset[str]:
    """Deliver to MLflow what waits in a workdir; the ids of the runs that came to their end by it.

    Raises `MlflowAway` where it is away, and `InputError` where it refuses or somebody is at work there.
    """
    with locked(Folder(str(workdir)), _lost):
        ended, run = deliver_kept(workdir, say), read_run(workdir)
        if run is not None and run.finished is None and ended & set(run.mlflow_run_ids[-1:]):
            end_run(workdir)
    return ended


def catch_up(workdir: Path, say: Callable[[str], object], *, run_id: str | None) -> bool:
    """The same before a command that goes on with `run_id`; whether that came to its end by it. What other runs owe is
    no reason to stop: then it is only said."""
    waiting = {item.run_id for item in kept(workdir)}
    if not waiting:
        return False
    try:
        return run_id in deliver_owed(workdir, say)
    except (MlflowAway, InputError) as error:
        if run_id in waiting:
            raise
        say(str(error))
        return False


def _lost(error: Exception) -> None:
    """Only an object store's lease is lost, and a workdir lies on this machine."""
    raise error
