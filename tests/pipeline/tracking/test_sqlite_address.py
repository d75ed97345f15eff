"""A working directory of any name: the address of its SQLite file means this file, to SQLAlchemy and to MLflow."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.tracking.config import TrackingConfig, sqlite_address, sqlite_file
from pipeline.tracking.run import RunAbout, run, workdir_of
from pipeline.tracking.store import store_of
from stages.errors import InputError

NAMES = ("a%20b", "two words", "what?", "no#1", "100%", "%3F", "x;y&z=1", "me@work:1", "größe")
ABOUT = RunAbout(name="demo", workdir="/runs/demo", fingerprint="f", parameters={}, yaml="seed: 0\n")


@pytest.mark.parametrize("name", NAMES)
def test_sqlite_address_of_any_folder_name_means_this_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = tmp_path / name
    home.mkdir()
    monkeypatch.chdir(home)
    store = store_of(TrackingConfig())
    assert make_url(store.uri).database == f"{home}/runs/mlflow.db"
    assert store.file == home / "runs" / "mlflow.db"
    assert store_of(TrackingConfig(uri=store.uri)) == store
    assert sqlite_file(sqlite_address(Path("mine.db"))) == home / "mine.db"


def test_sqlite_address_with_options_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"tracking\.uri .* %3F"):
        TrackingConfig(uri="sqlite:///mlflow.db?timeout=5")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db?timeout=5")
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI .* %3F"):
        store_of(TrackingConfig())


@pytest.mark.parametrize("name", ["a%20b", "what? 100% no#1"])
def test_run_in_a_working_directory_of_any_name_is_recorded_there_and_nowhere_else(
    name: str, tmp_path: Path, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = tmp_path / "here" / name
    (home / "runs").mkdir(parents=True)
    shutil.copy(mlflow_template, home / "runs" / "mlflow.db")
    monkeypatch.chdir(home)
    config = TrackingConfig(system_metrics=False)
    with run(config, ABOUT) as live:
        live.log_metrics(1, {"loss": 1.0})
    assert live.problems == []
    with closing(sqlite3.connect(home / "runs" / "mlflow.db")) as database:
        assert database.execute("select run_uuid, status from runs").fetchall() == [(live.run_id, "FINISHED")]
    (saved,) = (home / "runs").glob("mlartifacts/**/config.yaml")
    assert saved.read_text() == ABOUT.yaml
    assert workdir_of(config, "latest") == ABOUT.workdir
    assert [path.name for path in (tmp_path / "here").iterdir()] == [name]
