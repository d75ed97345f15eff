"""Fixtures that several files share."""

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ["TRITON_INTERPRET"] = "1"  # a GPU's kernels run here too; Triton reads it when it is imported

if TYPE_CHECKING:
    from mlflow_server import Wsgi
    from object_store import ObjectStore

    from stages.tokens.blocks import Blocks
    from stages.training.job import TrainingTask


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: made once, since its migrations take seven seconds."""
    from pipeline.tracking.run import quiet_mlflow

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    quiet_mlflow().MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def mlflow_store(mlflow_template: Path, tmp_path: Path) -> str:
    """The address of an MLflow store of this test's own."""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(mlflow_template, tmp_path / "mlflow" / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow/mlflow.db"


@pytest.fixture
def mlflow_app(mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Wsgi":
    """MLflow's real server as a program, for `mlflow_server.Server`; files go through it. MLflow keeps the store that
    it opened first: what a test wrote is read through the server."""
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", mlflow_store)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(tmp_path / "artifacts"))
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from mlflow.server import app

    return app


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> "Blocks":
    """72 blocks to train on: 6 batches of 12 an epoch. Read only."""
    from tiny import tiny_blocks

    return tiny_blocks(tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> "TrainingTask":
    """A tiny student and its teacher. Read only."""
    from trainings import tiny_task

    return tiny_task(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def s3() -> "Iterator[ObjectStore]":
    """An object store, and its address and keys in the environment."""
    from object_store import object_store

    with object_store() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.env.items():
            patch.setenv(name, value)
        yield store


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests that need it: it takes five seconds to start."""
    import ray

    from pipeline.runtime.cluster import start_local

    start_local(4, state=True)
    yield
    ray.shutdown()


@pytest.fixture
def server() -> Iterator[str]:
    """The address of something that answers as an empty MLflow does."""
    from answer import Answer

    httpd = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()
