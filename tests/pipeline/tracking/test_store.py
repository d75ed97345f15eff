"""What is refused before anything expensive, each with a sentence a person can act on."""

import socket
import time
from pathlib import Path

import pytest
from answer import BY_NAME, SEARCH, Answer

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.store import Store, check, store_of, ui
from stages.errors import InputError


def test_store_of_nothing_given_is_a_file_under_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    expected = Store(uri=f"sqlite:///{tmp_path}/runs/mlflow.db", artifacts=f"{tmp_path}/runs/mlartifacts")
    assert store_of(TrackingConfig()) == expected


def test_store_of_environment_counts_only_where_no_uri_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000/")
    assert store_of(TrackingConfig()).uri == "http://tracking:5000"
    assert store_of(TrackingConfig(uri="http://mine:1")).uri == "http://mine:1"


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///tmp/mlruns", "mlflow.db", "postgres://host/db", "databricks-uc", "databricks://a/b"]
)
def test_tracking_config_other_kinds_of_store_are_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"tracking\.uri.*sqlite:///FILE"):
        TrackingConfig(uri=uri)


def test_store_of_folder_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI is './mlruns'"):
        store_of(TrackingConfig())


def test_check_server_that_answers_passes(server: str) -> None:
    Answer.asked.clear()
    check(TrackingConfig(uri=server), workers_elsewhere=True)
    assert Answer.asked == [SEARCH, BY_NAME]


def test_check_server_that_is_not_mlflow_is_refused(server: str) -> None:
    with pytest.raises(InputError, match="answers 404"):
        check(TrackingConfig(uri=f"{server}/else"), workers_elsewhere=False)


def test_check_address_where_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        start = time.monotonic()
        with pytest.raises(InputError, match=r"127\.0\.0\.1:\d+, where no MLflow server answers .*start the server"):
            check(TrackingConfig(uri=f"http://127.0.0.1:{taken.getsockname()[1]}"), workers_elsewhere=False)
    assert time.monotonic() - start < 2


def test_check_address_that_is_silent_is_refused_after_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.checks.probe.SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(InputError, match="no MLflow server answers"):
            check(TrackingConfig(uri=f"http://127.0.0.1:{silent.getsockname()[1]}"), workers_elsewhere=False)
    assert time.monotonic() - start < 4


def test_check_sqlite_with_workers_on_other_machines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"workers run on other machines.*mlflow server"):
        check(TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db"), workers_elsewhere=True)


def test_check_sqlite_in_a_folder_not_made_yet_passes_and_makes_nothing(tmp_path: Path) -> None:
    check(TrackingConfig(uri=f"sqlite:///{tmp_path}/a/b/mlflow.db"), workers_elsewhere=False)
    assert list(tmp_path.iterdir()) == []


def test_check_sqlite_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        check(TrackingConfig(uri=f"sqlite:///{tmp_path}/file/mlflow.db"), workers_elsewhere=False)


def test_check_sqlite_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        check(TrackingConfig(uri=f"sqlite:///{tmp_path}"), workers_elsewhere=False)


def test_check_sqlite_that_is_some_other_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database")
    with pytest.raises(InputError, match="no SQLite database"):
        check(TrackingConfig(uri=f"sqlite:///{tmp_path}/notes.txt"), workers_elsewhere=False)


def test_ui_without_any_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="distil run demo"):
        ui(TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db"))


def test_ui_port_taken_says_so(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match=r"port \d+ is taken"):
            ui(TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db"), port=taken.getsockname()[1])


def test_ui_of_a_server_says_its_address(server: str) -> None:
    said: list[str] = []
    ui(TrackingConfig(uri=server), say=said.append)
    assert said == [server]
