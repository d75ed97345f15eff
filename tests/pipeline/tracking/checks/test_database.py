"""What a database of MLflow tells before a run: another MLflow's tables, an experiment that cannot be used."""

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.store import check
from stages.errors import InputError


def refusal(uri: str) -> str:
    with pytest.raises(InputError) as refused:
        check(TrackingConfig(uri=uri), workers_elsewhere=False)
    return str(refused.value)


def set_revision(uri: str, revision: str) -> None:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_tables_of_an_older_mlflow_are_refused_with_the_command_that_mends_them(mlflow_store: str) -> None:
    set_revision(mlflow_store, "451aebb31d03")
    said = refusal(mlflow_store)
    assert "whose tables an older MLflow made (schema 451aebb31d03)" in said
    assert f"`mlflow db upgrade {mlflow_store}`" in said


def test_tables_of_an_older_mlflow_are_not_brought_up_to_date_in_silence(mlflow_store: str) -> None:
    """As MLflow does by itself where a table is missing."""
    file = Path(mlflow_store.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE trace_info")
    set_revision(mlflow_store, "451aebb31d03")
    before = file.read_bytes()
    assert "mlflow db upgrade" in refusal(mlflow_store)
    assert file.read_bytes() == before


def test_tables_of_a_newer_mlflow_are_refused(mlflow_store: str) -> None:
    set_revision(mlflow_store, "ffffffffffff")
    assert f"whose tables a newer MLflow than {mlflow.__version__} made" in refusal(mlflow_store)


def test_experiment_whose_files_go_through_a_server_is_refused_without_one(mlflow_store: str) -> None:
    mlflow.MlflowClient(mlflow_store).create_experiment("distilray", artifact_location="mlflow-artifacts:/7")
    said = refusal(mlflow_store)
    assert "the files of MLflow's experiment 'distilray' lie at mlflow-artifacts:/7" in said
    assert "give the server's http address, or give another tracking.experiment" in said


def test_experiment_whose_files_cannot_be_written_is_refused(mlflow_store: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = mlflow.MlflowClient(mlflow_store)
    client.create_experiment("distilray", artifact_location=str(tmp_path / "file" / "artifacts"))
    assert f"where nothing can be written ({tmp_path}/file is no folder)" in refusal(mlflow_store)


def test_experiment_whose_store_is_away_is_refused(mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    mlflow.MlflowClient(mlflow_store).create_experiment("distilray", artifact_location="s3://bucket/mlflow")
    said = refusal(mlflow_store)
    assert "lie at s3://bucket/mlflow, where nothing can be written (" in said


def test_experiment_that_was_deleted_is_refused_before_anything_runs(mlflow_store: str) -> None:
    client = mlflow.MlflowClient(mlflow_store)
    client.delete_experiment(client.create_experiment("distilray"))
    assert "mlflow experiments restore" in refusal(mlflow_store)


def test_store_as_a_run_left_it_passes(mlflow_store: str, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(mlflow_store)
    client.create_experiment("distilray", artifact_location=str(tmp_path / "not yet" / "mlartifacts"))
    check(TrackingConfig(uri=mlflow_store), workers_elsewhere=False)
    assert not (tmp_path / "not yet").exists()
