"""An MLflow that stays away for longer than the patience: what it lacks is kept in the workdir, and arrives once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow_server import Server, Wsgi
from recorded import corpus_in

from pipeline.runtime.signals import Terminated
from pipeline.tracking.away.sync import deliver_kept
from pipeline.tracking.away.undelivered import NAME, MlflowAway, Undelivered, keep, kept, summary
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import NOTE as PAGE
from pipeline.tracking.pages import of_experiment, of_run
from pipeline.tracking.run import RunAbout, run
from stages.errors import InputError


@pytest.fixture
def server(mlflow_app: Wsgi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name, seconds in {"PATIENCE": 0.3, "NOTICE": 0.3, "QUIET": 0.1}.items():
        monkeypatch.setattr(f"pipeline.tracking.live_run.{name}", seconds)
    served = Server(mlflow_app)
    mlflow.MlflowClient(served.uri).search_experiments()
    yield served
    served.stop()


def about(workdir: Path, **changed: Any) -> RunAbout:
    return RunAbout(name="demo", workdir=str(workdir), fingerprint="f", parameters={"a": 1}, yaml="a: 1\n", **changed)


def away(server: Server, workdir: Path, steps: range, error: BaseException | None = None) -> LiveRun:
    """A run whose server goes away after some of `steps`, for good."""
    corpus = corpus_in(workdir)
    with run(TrackingConfig(uri=server.uri, system_metrics=False), about(workdir)) as live:
        for step in steps[:3]:
            live.log_metrics(step, {"loss": float(step)})
        while len(mlflow.MlflowClient(server.uri).get_metric_history(live.run_id, "loss")) < 3:
            pass
        server.stop()
        for step in steps[2:]:
            live.log_metrics(step, {"loss": float(step), "odd": float("nan")})
        live.log_dataset(corpus, "mine")
        live.log_figures()
        live.log_report({"student": {"top1": 0.5}})
        live.set_tag("teacher_warning", "it guesses")
        page = of_run("demo", "distil run demo --seed 3")
        live.tell("the description", description=page, experiment=of_experiment(page))
        if error is not None:
            raise error
    return live


def test_what_mlflow_was_not_there_to_take_is_kept_and_arrives_once(server: Server, tmp_path: Path) -> None:
    live = away(server, tmp_path, range(1, 51))
    with pytest.raises(MlflowAway) as told:
        live.check_delivered()
    for words in (
        f"MLflow at {server.uri} is away",
        "metric values",
        "report.json",
        "descriptions",
        "the end of the run",
        "distil sync",
    ):
        assert words in str(told.value)
    with pytest.raises(MlflowAway, match="still lacks"):
        deliver_kept(tmp_path, print)
    before = (tmp_path / NAME).read_bytes()
    server.start()
    said: list[str] = []
    assert deliver_kept(tmp_path, said.append) == {live.run_id}
    assert not (tmp_path / NAME).exists()
    (tmp_path / NAME).write_bytes(before)  # as if it had been killed before it could take note
    deliver_kept(tmp_path, said.append)
    client = mlflow.MlflowClient(server.uri)
    history = client.get_metric_history(live.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(step, float(step)) for step in range(1, 51)]
    assert len(client.get_metric_history(live.run_id, "odd")) == 48
    found = client.get_run(live.run_id)
    assert (found.info.status, found.data.tags["teacher_warning"]) == ("FINISHED", "it guesses")
    assert found.data.metrics["final/student/top1"] == 0.5
    notes = found.data.tags[PAGE], client.get_experiment(found.info.experiment_id).tags[PAGE]
    assert ["distil run demo --seed 3" in note for note in notes] == [True, True]
    assert [used.dataset.name for used in found.inputs.dataset_inputs] == ["mine"]
    files = {file.path for file in client.list_artifacts(live.run_id)}
    assert {"config.yaml", "report.json", "plots"} <= files


def test_what_a_stopped_run_could_not_deliver_is_kept_too_and_the_run_goes_on(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Terminated):
        away(server, tmp_path, range(1, 11), Terminated())
    server.start()
    (run_id,) = {item.run_id for item in kept(tmp_path)}
    assert deliver_kept(tmp_path, print) == frozenset(), "it is not finished"
    client = mlflow.MlflowClient(server.uri)
    assert client.get_run(run_id).info.status == "KILLED"
    assert client.get_run(run_id).data.tags["error"] == "stopped by SIGTERM"
    with run(TrackingConfig(uri=server.uri, system_metrics=False), about(tmp_path, run_id=run_id)) as live:
        for step in range(5, 21):
            live.log_metrics(step, {"loss": float(step)})
    assert live.waits == ""
    assert [m.step for m in client.get_metric_history(run_id, "loss")] == list(range(1, 21))
    assert client.get_run(run_id).info.status == "FINISHED"
    assert "error" not in client.get_run(run_id).data.tags


def test_model_that_could_not_be_registered_is_no_fault_of_ours(server: Server, tmp_path: Path) -> None:
    nothing: Any = None

    def publish() -> None:
        with run(TrackingConfig(uri=server.uri, system_metrics=False), about(tmp_path)) as live:
            server.stop()
            live.log_model(nothing, nothing, name="x", score=nothing)

    with pytest.raises(MlflowAway, match="the model could not be registered: the same command does it"):
        publish()
    server.start()
    (run_id,) = {item.run_id for item in kept(tmp_path)}
    deliver_kept(tmp_path, print)
    assert mlflow.MlflowClient(server.uri).get_run(run_id).info.status == "FAILED"


def test_what_mlflow_refuses_for_good_says_how_to_give_it_up(mlflow_store: str, tmp_path: Path) -> None:
    keep(tmp_path, [Undelivered(store=mlflow_store, run_id="0" * 32, metrics=[("loss", 1, 1.0, 1)])])
    with pytest.raises(InputError, match=f"refuses what waits for run 0+ .*remove .*{NAME} to give it up"):
        deliver_kept(tmp_path, print)
    assert len(kept(tmp_path)) == 1


def test_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"store": ')
    with pytest.raises(InputError, match=f"{NAME} cannot be read"):
        kept(tmp_path)


def test_new_experiment_whose_files_cannot_be_written_is_refused_before_any_stage(
    mlflow_store: str, tmp_path: Path
) -> None:
    """Where a server puts them only it knows: the first file of the run is the trial."""
    (tmp_path / "mlflow" / "mlartifacts").touch()
    config = TrackingConfig(uri=mlflow_store, system_metrics=False)
    with (
        pytest.raises(InputError, match=r"the run's files cannot be written to .*mlartifacts"),
        run(config, about(tmp_path)),
    ):
        pytest.fail("no stage may run")
    assert not (tmp_path / NAME).exists()


def test_summary_says_what_a_person_misses() -> None:
    item = Undelivered(store="s", run_id="r", metrics=[("a", 1, 1.0, 1)], files={"x.png": ""}, status="FINISHED")
    assert summary([item]) == "1 metric value, x.png and the end of the run"
    assert summary([Undelivered(store="s", run_id="r")]) == "nothing"
