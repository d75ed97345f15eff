"""A run that was made on another machine, looked at from this one: its config and report as MLflow keeps them."""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.records.workdir import CONFIG, RunFile, note_run
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.delivery import first_line
from pipeline.tracking.run import quiet_mlflow
from pipeline.tracking.store import store_of
from stages.errors import InputError

FILES = (CONFIG, "report.json")


def fetch(config: TrackingConfig, run: str, target: Path) -> Path:
    """Put the files of an MLflow run into `target`; raises `InputError` where the run has none of them yet."""
    mlflow = quiet_mlflow()
    store = store_of(config)
    client = mlflow.MlflowClient(store.uri)
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        try:
            client.download_artifacts(run, name, str(target))
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise InputError(
                f"run {run} was made on another machine, and MLflow has no {name} of it ({first_line(error)}): let it "
                "finish first."
            ) from error
    made = client.get_run(run).info
    ended = made.end_time or made.start_time  # it has its report, so it was over, whatever MLflow was told
    found = RunFile(
        config=CONFIG,
        mlflow_run_ids=(run,),
        started=_iso(made.start_time),
        finished=_iso(ended),
        tracking_uri=store.uri,
    )
    note_run(target, found)
    return target.resolve()


def _iso(milliseconds: int) -> str:
    """MLflow's time as run.json has it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
