"""Fixtures that several files share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: made once, since its migrations take seven seconds."""
    from pipeline.tracking import quiet_mlflow

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    quiet_mlflow().MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def mlflow_store(mlflow_template: Path, tmp_path: Path) -> str:
    """The address of an MLflow store of this test's own."""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(mlflow_template, tmp_path / "mlflow" / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow/mlflow.db"


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests that need it: it takes five seconds to start."""
    import ray

    from pipeline.cluster import start_local

    start_local(4, state=True)
    yield
    ray.shutdown()
