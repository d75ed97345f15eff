"""A run of another machine, found again by its MLflow id: its report comes from MLflow, its models from storage."""

import json
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

import pytest
from published import tiny_student

from pipeline import recipes
from pipeline.cli.fill import fill
from pipeline.config.schema import to_yaml
from pipeline.records.report import RunReport
from pipeline.records.which_run import find_workdir
from pipeline.records.workdir import begin_run, read_run
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import quiet_mlflow
from stages.errors import InputError
from stages.evaluation.artifact import ModelScore

REPORT = {"folders": {"teacher": "teacher/1/model", "student": "publish/1/model"}}


def recorded(store: str, storage: str | None, files: tuple[str, ...]) -> str:
    """The id of a run that was made where this machine sees no workdir."""
    client = quiet_mlflow().MlflowClient(store)
    artifacts = Path(store.removeprefix("sqlite:///")).parent / "artifacts"
    experiment = client.create_experiment("elsewhere", artifact_location=str(artifacts))
    run = client.create_run(experiment, tags={"workdir": "/home/ray/runs/mine"}).info.run_id
    config = replace(recipes.demo(), workdir="/home/ray/runs/mine", storage=storage, tracking=TrackingConfig(uri=store))
    texts = {"config.yaml": to_yaml(config), "report.json": whole_report(run)}
    for name in files:
        client.log_text(run, texts[name], name)
    return run


def whole_report(run: str) -> str:
    """A report.json that names these folders; its figures mean nothing."""
    score = {field.name: 1 for field in fields(ModelScore)}
    plain = {"int": 1, "float": 1.0, "str": "x", "bool": False}
    made = {f.name: plain.get(getattr(f.type, "__name__", str(f.type)), score) for f in fields(RunReport)}
    return json.dumps(
        made | {"objective": "masked", "seconds": {}, "tasks": {}, "folders": REPORT["folders"], "mlflow_run_id": run}
    )


@pytest.fixture
def not_fingerprinted(mlflow_store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The store that the environment names, seen from an empty folder."""
    (tmp_path / "laptop").mkdir()
    monkeypatch.chdir(tmp_path / "laptop")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    return mlflow_store


def test_fill_of_a_run_made_elsewhere_reads_mlflow_and_storage_alone(
    not_fingerprinted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in REPORT["folders"].values():
        tiny_student(tmp_path / "storage" / folder)
    run = recorded(not_fingerprinted, str(tmp_path / "storage"), ("config.yaml", "report.json"))
    workdir = find_workdir(run)
    assert workdir == tmp_path / "laptop" / "runs" / run
    found = read_run(workdir)
    assert found is not None
    assert found.mlflow_run_ids == (run,)
    fill("the [MASK] of a tensor", workdir)
    assert "student" in capsys.readouterr().out
    assert find_workdir("latest") == workdir  # and from now on it is known here


def test_fill_of_a_run_whose_models_stayed_on_the_other_machine_says_where(not_fingerprinted: str) -> None:
    run = recorded(not_fingerprinted, None, ("config.yaml", "report.json"))
    with pytest.raises(InputError, match="keeps its models in /home/ray/runs/mine, which is not on this machine"):
        fill("the [MASK] of a tensor", find_workdir(run))


def test_an_old_run_that_is_looked_at_is_not_the_latest(not_fingerprinted: str, tmp_path: Path) -> None:
    old = recorded(not_fingerprinted, None, ("config.yaml", "report.json"))
    begin_run(tmp_path / "laptop" / "runs" / "newer", config="config.yaml", mlflow_run_id="a" * 32)
    found = read_run(find_workdir(old))
    assert found is not None
    started = quiet_mlflow().MlflowClient(not_fingerprinted).get_run(old).info.start_time
    assert datetime.fromisoformat(found.started).timestamp() * 1000 == pytest.approx(started)
    assert find_workdir("latest") == tmp_path / "laptop" / "runs" / "newer"


def test_find_workdir_of_an_unfinished_run_made_elsewhere_says_so(not_fingerprinted: str) -> None:
    run = recorded(not_fingerprinted, None, ("config.yaml",))
    with pytest.raises(InputError, match=r"made on another machine, and MLflow has no report\.json of it"):
        find_workdir(run)
