"""Somebody else's run in the environment, as a notebook, a job or an agent leaves it there: it stays as it is."""

import os

import mlflow
import pytest

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import RunAbout, run

ABOUT = RunAbout(name="demo", workdir="/runs/demo", fingerprint="f", parameters={"seed": 7}, yaml="seed: 7\n")


@pytest.fixture
def theirs(mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of another program's run, which the environment names in all of MLflow's ways."""
    client = mlflow.MlflowClient(mlflow_store)
    experiment = client.create_experiment("theirs")
    made = client.create_run(experiment, run_name="theirs")
    model = client.create_logged_model(experiment, name="theirs")
    client.set_terminated(made.info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    monkeypatch.setenv("MLFLOW_ACTIVE_MODEL_ID", model.model_id)
    return made.info.run_id


def test_new_run_does_not_write_into_the_run_that_the_environment_names(mlflow_store: str, theirs: str) -> None:
    client, said = mlflow.MlflowClient(mlflow_store), []
    before = client.get_run(theirs).to_dictionary()
    environment = dict(os.environ)
    with run(TrackingConfig(uri=mlflow_store, system_metrics=False), ABOUT, said.append) as live:
        live.log_metrics(1, {"loss": 1.0})
        assert "MLFLOW_RUN_ID" not in os.environ, "a child process would take it for its own"
    assert live.problems == []
    assert client.get_run(theirs).to_dictionary() == before
    assert live.run_id != theirs
    ours = client.get_run(live.run_id)
    assert (ours.info.status, ours.data.metrics["loss"], ours.data.params["seed"]) == ("FINISHED", 1.0, "7")
    assert client.get_experiment(ours.info.experiment_id).name == "distilray"
    assert dict(os.environ) == environment
    assert len(said) == 1
    assert "MLFLOW_RUN_ID" in said[0]
    assert theirs not in said[0]


def test_run_that_is_continued_is_its_own_whatever_the_environment_names(mlflow_store: str, theirs: str) -> None:
    config = TrackingConfig(uri=mlflow_store, system_metrics=False)
    with pytest.raises(KeyboardInterrupt), run(config, ABOUT) as first:
        raise KeyboardInterrupt
    about = RunAbout(
        name="demo", workdir="/runs/demo", fingerprint="f", parameters={}, yaml="seed: 7\n", run_id=first.run_id
    )
    with run(config, about) as again:
        assert again.run_id == first.run_id
    assert mlflow.MlflowClient(mlflow_store).get_run(first.run_id).info.status == "FINISHED"
