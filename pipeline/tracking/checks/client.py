"""MLflow, imported without its chatter, and how long it tries."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def quiet_mlflow() -> Any:
    """Import MLflow without its banners, its progress bars and its telemetry; what the user set in the environment
    stays."""
    for variable in ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "MLFLOW_DISABLE_TELEMETRY"):
        os.environ.setdefault(variable, "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")  # 2 + 4 + 8 + 16 s; metrics wait longer on their own
    import mlflow

    for name in ("mlflow", "alembic"):
        if logging.getLogger(name).level < logging.ERROR and not logging.getLogger(__name__).isEnabledFor(logging.INFO):
            logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


@contextmanager
def hurried(seconds: int = 5) -> Iterator[None]:
    """MLflow asks once, and waits for some seconds: there is little time."""
    hurry = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": str(seconds),
    }
    before = {name: os.environ.get(name) for name in hurry}
    os.environ.update(hurry)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
