"""A run goes on in the MLflow that it was begun in, and is looked at there, whatever the environment and the folder."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal
from tiny import tiny_bert
from tiny_pipeline import tiny_recipe

from pipeline.cli.console import Console
from pipeline.config.schema import PipelineConfig
from pipeline.records.which_run import tracking_of
from pipeline.run import run
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import quiet_mlflow
from pipeline.tune import where_recorded
from pipeline.tuning.tracking.which_search import STARTED
from stages.storage import Folder


class Impatient(Console):
    """A person who presses Ctrl-C when the second stage begins."""

    @contextmanager
    def running(self, stage: str, why: tuple[str, ...]) -> Iterator[Callable[[float, float, str], None]]:
        """The stage, unless it is the teacher's."""
        if stage == "teacher":
            raise KeyboardInterrupt
        with super().running(stage, why) as on_progress:
            yield on_progress


@pytest.fixture
def begun(
    tmp_path: Path, mlflow_template: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> tuple[PipelineConfig, str]:
    """A run of two stages that was interrupted between them, and the store that its environment named, relative to the
    folder it was begun in; now the command is given in another folder, and the environment names none."""
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    shutil.copy(mlflow_template, tmp_path / "there" / "mine.db")
    tracking = TrackingConfig(system_metrics=False)
    config = replace(tiny_recipe(tmp_path, tiny_bert()), tracking=tracking, until="teacher")
    monkeypatch.chdir(tmp_path / "there")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    with pytest.raises(KeyboardInterrupt), (tmp_path / "out.txt").open("w") as file:
        run(config, Impatient(Terminal(file=file)))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path / "here")
    return config, f"sqlite:///{tmp_path}/there/mine.db"


def run_again(config: PipelineConfig, file: Path) -> str:
    with file.open("w") as opened:
        run(config, Console(Terminal(file=opened, width=300)))
    return file.read_text()


def runs_in(store: str) -> list[tuple[str, str]]:
    """(run id, status) of every run."""
    found = quiet_mlflow().MlflowClient(store).search_runs(["0", "1"])
    return [(one.info.run_id, one.info.status) for one in found]


def test_run_begun_under_a_store_that_only_the_environment_named_goes_on_there_without_it(
    begun: tuple[PipelineConfig, str], tmp_path: Path
) -> None:
    config, store = begun
    ((run_id, status),) = runs_in(store)
    assert status == "KILLED"
    remembered = json.loads((Path(config.workdir) / "run.json").read_text())
    assert (remembered["tracking_uri"], remembered["mlflow_run_ids"]) == (store, [run_id])
    run_again(config, tmp_path / "again.txt")
    assert runs_in(store) == [(run_id, "FINISHED")]
    assert list((tmp_path / "here").iterdir()) == []


def test_run_begun_elsewhere_than_the_environment_says_now_is_a_new_one_and_that_is_said(
    begun: tuple[PipelineConfig, str], tmp_path: Path, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, store = begun
    shutil.copy(mlflow_template, tmp_path / "here" / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/here/other.db")
    said = run_again(config, tmp_path / "again.txt")
    assert f"begun in MLflow at {store}; recorded as a new run at sqlite:///{tmp_path}/here/other.db" in said
    assert [status for _, status in runs_in(store)] == ["KILLED"]
    assert [status for _, status in runs_in(f"sqlite:///{tmp_path}/here/other.db")] == ["FINISHED"]


def test_run_whose_machine_was_lost_goes_on_under_its_id_as_its_storage_knows_it(
    tmp_path: Path, mlflow_template: Path, ray_session: None
) -> None:
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = TrackingConfig(uri=store, system_metrics=False)
    recipe = replace(tiny_recipe(tmp_path, tiny_bert()), tracking=tracking, until="teacher")
    config = replace(recipe, storage=str(tmp_path / "storage"))
    with pytest.raises(KeyboardInterrupt), (tmp_path / "out.txt").open("w") as file:
        run(config, Impatient(Terminal(file=file)))
    ((run_id, status),) = runs_in(store)
    assert status == "KILLED"
    shutil.rmtree(config.workdir)
    assert f"begun before as run {run_id}" in run_again(config, tmp_path / "again.txt")
    assert runs_in(store) == [(run_id, "FINISHED")]
    shutil.rmtree(config.workdir)
    client = quiet_mlflow().MlflowClient(store)
    client.delete_run(run_id)
    client._tracking_client.store._hard_delete_run(run_id)  # as in a database that went with its machine
    assert f"run {run_id}, as which this was begun, cannot go on" in run_again(config, tmp_path / "third.txt")
    ((other, status),) = runs_in(store)
    assert (other != run_id, status) == (True, "FINISHED")


def test_ui_from_another_folder_opens_the_database_that_holds_the_run(begun: tuple[PipelineConfig, str]) -> None:
    config, store = begun
    assert tracking_of(config.workdir).uri == store


def test_search_begun_under_a_store_that_only_the_environment_named_goes_on_there_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config, folder = tiny_recipe(tmp_path, tiny_bert()), Folder(str(tmp_path / "search"))
    assert where_recorded(config, folder) == config
    folder.write_bytes(STARTED, json.dumps({"mlflow_run_id": "a" * 32, "store": "http://mlflow:5000"}).encode())
    assert where_recorded(config, folder).tracking.uri == "http://mlflow:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other:5000")
    assert where_recorded(config, folder) == config
