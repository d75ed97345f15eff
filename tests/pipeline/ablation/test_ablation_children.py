"""The runs below an ablation's, read back through MLflow's own client from a real store and a real server."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow_server import Server, Wsgi

from pipeline.ablation.children import PARENT, Children
from pipeline.runtime.signals import Terminated
from pipeline.tracking.away.undelivered import MlflowAway
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import RunAbout, run

ABOUT = RunAbout(name="demo ablation", workdir="", fingerprint="f1", parameters={"seed": 1}, yaml="seed: 1\n")


def below(config: TrackingConfig, run_id: str) -> dict[str, Any]:
    client = mlflow.MlflowClient(config.uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], f"tags.`{PARENT}` = '{run_id}'")
    return {run.info.run_name: run for run in found}


def test_children_that_ended_are_left_alone_and_one_that_was_stopped_goes_on(mlflow_store: str, tmp_path: Path) -> None:
    config = TrackingConfig(uri=mlflow_store, system_metrics=False)
    about = replace(ABOUT, workdir=str(tmp_path))
    with suppress(Terminated), run(config, about) as live:
        first = Children(live, tmp_path, print)
        with first.child("random", 1, {"distil.start": "random"}) as child:
            assert child is not None
            child.log_metrics(5, {"loss": 2.0})
        with pytest.raises(FloatingPointError), first.child("no-ce", 1, {}):
            raise FloatingPointError("no finite number")
        with first.child("random", 2, {}) as child:
            assert child is not None
            child.log_metrics(5, {"loss": 3.0})
            raise Terminated("SIGTERM")
    before = below(config, live.run_id)
    assert {name: one.info.status for name, one in before.items()} == {
        "random, seed 1": "FINISHED",
        "no-ce, seed 1": "FAILED",
        "random, seed 2": "KILLED",
    }
    assert before["random, seed 1"].data.params == {"variant": "random", "seed": "1", "distil.start": "random"}
    assert before["no-ce, seed 1"].data.tags["error"] == "FloatingPointError: no finite number"

    with run(config, replace(about, run_id=live.run_id)) as live:
        again = Children(live, tmp_path, print)
        with again.child("random", 1, {"distil.start": "random"}) as child:
            assert child is None
        with again.child("random", 2, {}) as child:
            assert child is not None
            for step in (5, 10):
                child.log_metrics(step, {"loss": 3.0 / step})
        assert again.all_delivered
    after = below(config, live.run_id)
    assert {name: one.info.run_id for name, one in after.items()} == {n: one.info.run_id for n, one in before.items()}
    assert after["random, seed 2"].info.status == "FINISHED"
    history = mlflow.MlflowClient(config.uri).get_metric_history(after["random, seed 2"].info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(5, 3.0), (10, 0.3)]


@pytest.fixture
def server(mlflow_app: Wsgi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, seconds in {"PATIENCE": 0.3, "QUIET": 0.1}.items():
        monkeypatch.setattr(f"pipeline.tracking.live_run.{name}", seconds)
    served = Server(mlflow_app)
    mlflow.MlflowClient(served.uri).search_experiments()
    yield served
    served.stop()


def test_training_goes_on_without_a_server_and_what_it_lacks_is_told(server: Server, tmp_path: Path) -> None:
    """One child whose end is kept for another time, one that could not be made at all."""
    config = TrackingConfig(uri=server.uri, experiment="away", system_metrics=False)
    with run(config, replace(ABOUT, workdir=str(tmp_path))) as live:
        children = Children(live, tmp_path, print)
        with children.child("random", 1, {}) as child:
            assert child is not None
            server.stop()
            child.log_metrics(5, {"loss": 2.0})
        with children.child("random", 2, {}) as child:
            assert child is None
    assert not children.all_delivered
    with pytest.raises(MlflowAway, match="kept in"):
        children.check_delivered()
    with pytest.raises(MlflowAway, match="the runs of 1 trainings"):
        live.check_delivered()
