"""A search that was made on another machine: what came of it as MLflow keeps it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.serialisation import from_plain
from pipeline.tracking.checks.client import quiet_mlflow
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.delivery import first_line
from pipeline.tracking.store import store_of, tidied
from pipeline.tuning.tracking.conclusion import SEARCH
from pipeline.tuning.verdict import Search
from stages.errors import InputError


def fetch(config: TrackingConfig, run: str) -> Search:
    """The finished search whose MLflow run is `run`; raises `InputError` where there is no such run, or no search's, or
    it has not finished."""
    mlflow = quiet_mlflow()
    store = store_of(config)
    nowhere = f"there is no search {run} here, nor in MLflow at {store.uri}"
    if store.file and not store.file.exists():
        raise InputError(f"{nowhere}, which does not exist yet: give the --tracking.uri that has it.")
    with tidied(store):
        client = mlflow.MlflowClient(store.uri)
        try:
            client.get_run(run)
        except mlflow.exceptions.MlflowException as error:
            why = first_line(error).rstrip(".")
            raise InputError(f"{nowhere} ({why}): give the --tracking.uri that has it.") from error
        try:
            with TemporaryDirectory() as folder:
                text = Path(client.download_artifacts(run, SEARCH, folder)).read_text(encoding="utf-8")
            return from_plain(Search, json.loads(text), SEARCH, lenient=True)
        except (mlflow.exceptions.MlflowException, OSError, ValueError) as error:
            why = first_line(error).rstrip(".")
            raise InputError(
                f"run {run} in MLflow at {store.uri} has no {SEARCH} of a finished search ({why}): let it finish, or "
                "give the id of a `distil tune`."
            ) from error
