"""Where an experiment's files go: whether they can be written from here, tried before a run needs it at its end."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.redaction import redacted
from pipeline.tracking.checks.client import hurried
from pipeline.tracking.delivery import first_line
from stages.errors import InputError

THROUGH_A_SERVER = "mlflow-artifacts:"
_TRIAL = "distilray-trial"


def check_artifacts(location: str, experiment: str, uri: str, *, has_server: bool) -> None:
    """Raise `InputError` where files of `experiment` cannot be written to `location`.

    A folder is only looked at; anywhere else a small file is written and deleted. `has_server`: whether `uri` is a
    server's, through which files can go.
    """
    whose = f"the files of MLflow's experiment {experiment!r} lie at {redacted(location)}"
    other = "or give another tracking.experiment"
    if location.startswith(THROUGH_A_SERVER) and not has_server:
        raise InputError(
            f"{whose}, which only an MLflow server reaches, and tracking.uri is {redacted(uri)}: give the server's "
            f"http address, {other}."
        )
    try:
        if (folder := _folder(location)) is not None:
            _check_folder(folder)
        else:
            _try(location, uri)
    except ImportError as error:
        raise InputError(f"{whose}, for which the package {error.name} is missing: install it, {other}.") from error
    except Exception as error:  # every kind of store raises its own
        raise InputError(
            f"{whose}, where nothing can be written ({first_line(error).rstrip('.')}): mend that, {other}."
        ) from error


def _folder(location: str) -> Path | None:
    """The folder on this machine that a location means; None where it lies elsewhere."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None


def _check_folder(folder: Path) -> None:
    parent = next(there for there in (folder.absolute(), *folder.absolute().parents) if there.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{parent} is no folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"no right to write into {parent}")


def _try(location: str, uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with TemporaryDirectory() as folder, hurried(10):
        file = Path(folder) / "trial.txt"
        file.write_text("distilray tried whether files can be written here\n", encoding="utf-8")
        repository = get_artifact_repository(location, tracking_uri=uri)
        repository.log_artifact(str(file), _TRIAL)
        try:
            repository.delete_artifacts(_TRIAL)
        except Exception:  # who may write need not be allowed to delete, and some stores cannot
            return
