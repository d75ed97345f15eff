"""A command whose MLflow goes away and stays away: status 75 until what it lacks has arrived, and then it has all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import mlflow
import pytest
from mlflow_server import Server, Wsgi
from rich.console import Console as Terminal
from tiny import tiny_bert
from tiny_pipeline import tiny_recipe

from pipeline.cli.console import Console
from pipeline.cli.main import main, status_of
from pipeline.config.schema import PipelineConfig
from pipeline.records.workdir import read_run
from pipeline.run import run
from pipeline.tracking.config import TrackingConfig


class Unplugging(Console):
    """Takes MLflow's server away when the last stage begins."""

    server: Server | None = None
    last = ""

    @contextmanager
    def running(self, stage: str, why: tuple[str, ...]) -> Iterator[Callable[[float, float, str], None]]:
        """The stage, with the server or without it."""
        if stage == self.last and self.server is not None:
            self.server.stop()
        with super().running(stage, why) as on_progress:
            yield on_progress


@pytest.fixture
def server(mlflow_app: Wsgi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, seconds in {"PATIENCE": 0.3, "QUIET": 0.1}.items():
        monkeypatch.setattr(f"pipeline.tracking.live_run.{name}", seconds)
    served = Server(mlflow_app)
    mlflow.MlflowClient(served.uri).search_experiments()
    yield served
    served.stop()


def give(config: PipelineConfig, server: Server | None = None) -> int:
    """The exit status of the command; `server`: to go away in the midst of it."""
    with open(os.devnull, "w") as file:
        console = Unplugging(Terminal(file=file))
        console.server, console.last = server, config.until
        return status_of(lambda: run(config, console), verbose=False)


@pytest.mark.parametrize(
    ("by", "until"),
    [
        ("the same command", "teacher"),
        ("distil sync", "teacher"),
        pytest.param("the same command", "distil", marks=pytest.mark.slow),
    ],
)
def test_what_mlflow_was_away_for_is_owed_until_it_arrived(
    by: str,
    until: Literal["distil", "teacher"],
    server: Server,
    tmp_path: Path,
    ray_session: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tracking = TrackingConfig(uri=server.uri, experiment=f"{by} {until}", system_metrics=False)
    config = replace(tiny_recipe(tmp_path, tiny_bert(scale=0.05)), tracking=tracking, until=until)
    workdir = Path(config.workdir)
    assert give(config, server) == 75
    assert "and the end of the run: kept in" in capsys.readouterr().err
    found = read_run(workdir)
    assert found is not None
    assert found.finished is None
    assert give(config) == main(["sync", str(workdir)]) == 75, "it is away still"
    assert capsys.readouterr().err.count("MLflow still lacks") == 2
    server.start()
    if by == "distil sync":
        assert main(["sync", str(workdir)]) == 0
        assert f"of run {found.mlflow_run_ids[-1]}" in capsys.readouterr().out
        assert main(["sync", str(workdir)]) == 0
        assert "waits for MLflow" in capsys.readouterr().out
    else:
        assert give(config) == 0
    client = mlflow.MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(f"{by} {until}")
    assert experiment is not None
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert recorded.info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(recorded.info.run_id, "loss")]
    assert steps == ([5, 10, 15, 20] if until == "distil" else [])
    assert recorded.inputs.dataset_inputs
    found = read_run(workdir)
    assert found is not None
    assert found.finished is not None
