"""Whether MLflow answers at an address, by calls of its own client: behind a path, a proxy, a password, or anywhere.

A server's health page says less: it lies at the root, needs no credentials, and takes any Host header.
"""

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pipeline.config.redaction import redacted
from pipeline.tracking.checks.artifacts import check_artifacts
from pipeline.tracking.checks.client import hurried, quiet_mlflow
from pipeline.tracking.config import kind_of
from pipeline.tracking.delivery import first_line
from stages.errors import InputError

REGISTRY = "MLFLOW_REGISTRY_URI"
SECONDS = 10
"""How long a server may take to answer."""
_STATUS = re.compile(r"failed with error code (\d{3})\b")
_NOT_MLFLOW = (404, 405)


def probe(uri: str, experiment: str | None = None) -> None:
    """Raise `InputError` where no run can be recorded at `uri`, a server's address, Databricks' or a database's.

    With `experiment`, also where that was deleted, or its files could not be written; and where the registry that
    $MLFLOW_REGISTRY_URI names does not answer.
    """
    mlflow = quiet_mlflow()
    _ask("tracking.uri", uri, lambda: mlflow.MlflowClient(uri).search_experiments(max_results=1))
    if experiment is None:
        return
    client = mlflow.MlflowClient(uri)
    found = _ask("tracking.uri", uri, lambda: client.get_experiment_by_name(experiment))
    check_experiment(found, experiment)
    if found is not None and found.artifact_location:
        has_server = kind_of(uri) in ("server", "databricks")
        check_artifacts(found.artifact_location, experiment, uri, has_server=has_server)
    registry = os.environ.get(REGISTRY, uri)
    if registry != uri:
        _ask(REGISTRY, registry, lambda: client.search_registered_models(max_results=1))


def check_experiment(found: Any, name: str) -> None:
    """Raise `InputError` for an experiment that was deleted; None, and so one that is yet to be made, passes."""
    if found is not None and found.lifecycle_stage == "deleted":
        raise InputError(
            f"the MLflow experiment {name!r} was deleted: restore it with `mlflow experiments restore`, or give "
            "another tracking.experiment."
        )


def _ask(field: str, uri: str, question: Callable[[], Any]) -> Any:
    """MLflow's answer; raises `InputError` where it gives none."""
    try:
        with hurried(SECONDS):
            return question()
    except ImportError as error:
        package = error.name or "a package"
        raise InputError(f"{field} is {redacted(uri)}, for which {package} is missing: pip install it.") from error
    except Exception as error:  # a store raises what it likes: MLflow's, requests', Databricks' or a driver's own
        raise InputError(_sentence(field, uri, error)) from error


def _sentence(field: str, uri: str, error: Exception) -> str:
    """What an answer that was no answer means, and what to do about it."""
    where, words, status = f"{field} is {redacted(uri)}", str(error), _status(error)
    if "Invalid Host header" in words:
        host = urlsplit(uri).netloc
        return (
            f"{where}, where MLflow answers 403 since it does not know that name: start `mlflow server` with "
            f"--allowed-hosts {host} (or MLFLOW_SERVER_ALLOWED_HOSTS; localhost and other names go into the same list)."
        )
    if status == 401:
        sent = _credentials() or "nothing"
        return f"{where}, which wants to know who is there and was given {sent} (401): {_REMEDY}."
    if status == 403:
        given = _credentials()
        who = f"lets {given} do nothing" if given else "lets nobody in without a name"
        return f"{where}, which {who} (403): ask for the right to it, or {_REMEDY}."
    start = "start the server, or leave tracking.uri out to record into a file on this machine"
    if status is not None and (status in _NOT_MLFLOW or status >= 500):
        return f"{where}, which answers {status} and not as MLflow: give the address of MLflow's own page, or {start}."
    if "valid JSON" in words:
        return (
            f"{where}, which answers with a page of its own and not as MLflow: give the address of MLflow's own page."
        )
    if kind_of(uri) == "server":
        return f"{where}, where no MLflow server answers ({cause_of(error)}): {start}."
    if kind_of(uri) == "databricks":
        return (
            f"{where}, which does not answer ({first_line(error).rstrip('.')}): set DATABRICKS_HOST and "
            "DATABRICKS_TOKEN, or give a profile of ~/.databrickscfg as databricks://PROFILE."
        )
    return f"{where}, where MLflow cannot record ({first_line(error).rstrip('.')})."


_REMEDY = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment"


def _credentials() -> str | None:
    """What of a user MLflow sends, without saying it."""
    if os.environ.get("MLFLOW_TRACKING_USERNAME") and os.environ.get("MLFLOW_TRACKING_PASSWORD"):
        return "the user of MLFLOW_TRACKING_USERNAME"
    return "the token of MLFLOW_TRACKING_TOKEN" if os.environ.get("MLFLOW_TRACKING_TOKEN") else None


def _status(error: Exception) -> int | None:
    """The HTTP status of an answer; None where there was none."""
    if found := _STATUS.search(str(error)):
        return int(found[1])
    from mlflow.exceptions import RestException

    return error.get_http_status_code() if isinstance(error, RestException) else None


def cause_of(error: BaseException) -> str:
    """The reason within what urllib3, requests and MLflow wrapped around one another, without secrets."""
    words = str(error)
    inner = re.search(r"\[Errno -?\d+\] ([^'\")]+)", words) or re.search(r"(Read timed out|timed out)", words)
    return redacted(inner[1]).rstrip(". ") if inner else first_line(error).rstrip(". ")
