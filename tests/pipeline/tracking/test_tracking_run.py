"""What a run leaves in MLflow, read back through MLflow's own client from a real store."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow_server import Server, Wsgi
from recorded import corpus_in

from pipeline.runtime.signals import Terminated
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.run import RunAbout, run, workdir_of
from pipeline.tracking.store import Store, _start_server, _stop, _wait_until_it_answers
from stages.corpus.artifact import Corpus
from stages.errors import InputError, Preempted

ABOUT = RunAbout(
    name="demo",
    workdir="/somewhere/runs/demo",
    fingerprint="f1",
    parameters={"seed": 7, "distil.layers": "0,2", "teacher.model": None},
    yaml="seed: 7\n",
    hardware="2 cores",
)


@pytest.fixture
def config(mlflow_store: str) -> TrackingConfig:
    return TrackingConfig(uri=mlflow_store, system_metrics=False)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_in(tmp_path)


def client(config: TrackingConfig) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(config.uri)


def test_run_finished_holds_parameters_tags_config_and_metrics(config: TrackingConfig, tmp_path: Path) -> None:
    with run(config, ABOUT) as live:
        for step in range(1, 301):
            live.log_metrics(step, {"loss": 1 / step, "learning_rate": 1e-4})
        live.log_figures()
        live.log_report({"student": {"top1": 0.41}, "seconds": {"distil": 81.5}, "model_uri": "models:/x/1"})
        live.set_tag("teacher_warning", "it guesses")
    assert live.problems == []
    read = client(config)
    assert read.get_run(live.run_id).data.tags["teacher_warning"] == "it guesses"
    found = read.get_run(live.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name.startswith("demo ")
    assert found.data.params == {"seed": "7", "distil.layers": "0,2", "teacher.model": "None"}
    assert found.data.tags["workdir"] == ABOUT.workdir
    assert found.data.tags["fingerprint"] == "f1"
    assert [(m.step, m.value) for m in read.get_metric_history(live.run_id, "loss")] == [
        (step, 1 / step) for step in range(1, 301)
    ]
    assert found.data.metrics["final/student/top1"] == 0.41
    assert found.data.metrics["final/seconds/distil"] == 81.5
    saved = Path(read.download_artifacts(live.run_id, "", str(tmp_path)))
    assert (saved / "config.yaml").read_text() == ABOUT.yaml
    assert (saved / "report.json").exists()
    assert {file.name for file in (saved / "plots").iterdir()} == {"loss.png", "progress.png"}


def test_run_logs_the_data_set_with_its_digest(config: TrackingConfig, corpus: Corpus) -> None:
    with run(config, ABOUT) as live:
        live.log_dataset(corpus, "library-docs")
    assert live.problems == []
    found = client(config).get_run(live.run_id)
    (used,) = found.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("library-docs", ("ab" * 32)[:36])
    assert found.data.tags["dataset_digest"] == "ab" * 32


def test_run_interrupted_is_killed(config: TrackingConfig) -> None:
    def training() -> None:
        with run(config, ABOUT) as live:
            live.log_metrics(1, {"loss": 2.0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training()
    (found,) = client(config).search_runs(["1"])
    assert found.info.status == "KILLED"
    assert found.data.metrics["loss"] == 2.0


def test_run_that_raises_is_failed_and_says_why(config: TrackingConfig) -> None:
    with pytest.raises(InputError), run(config, ABOUT) as live:
        raise InputError("the corpus is empty.\nsecond line")
    found = client(config).get_run(live.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags["error"] == "InputError: the corpus is empty."


def test_run_continued_goes_on_in_the_same_run_of_the_same_experiment(config: TrackingConfig) -> None:
    with run(config, ABOUT) as first:
        first.log_metrics(1, {"loss": 2.0})
    client(config).set_tag(first.run_id, "error", "stopped by SIGTERM")
    again = RunAbout(**{**vars(ABOUT), "run_id": first.run_id, "parameters": {"seed": 8, "new": 1}})
    with run(config, again) as second:
        second.log_metrics(2, {"loss": 1.0})
    assert second.run_id == first.run_id
    assert second.problems == []
    read = client(config)
    assert [m.step for m in read.get_metric_history(first.run_id, "loss")] == [1, 2]
    found = read.get_run(first.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["seed"] == "7", "a parameter is written once"
    assert found.data.params["new"] == "1"
    assert "error" not in found.data.tags, "it was of the first start"
    assert len(read.search_runs([first.experiment_id])) == 1


@pytest.mark.parametrize("error", [Terminated(), Preempted(7)])
def test_run_stopped_by_sigterm_is_killed_with_its_metrics(config: TrackingConfig, error: BaseException) -> None:
    def training() -> None:
        with run(config, ABOUT) as live:
            live.log_metrics(1, {"loss": 2.0})
            raise error

    with pytest.raises(type(error)):
        training()
    (found,) = client(config).search_runs(["1"])
    assert found.info.status == "KILLED"
    assert found.data.tags["error"] == "stopped by SIGTERM"
    assert found.data.metrics["loss"] == 2.0


KILLED_DRIVER = """
import os, signal, sys, time
from pipeline.runtime.signals import Terminated
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import RunAbout, run
about = RunAbout(name="demo", workdir="/w", fingerprint="f1", parameters={}, yaml="")
with run(TrackingConfig(uri=sys.argv[1], system_metrics=False), about) as live:
    for step in range(1, 21):
        live.log_metrics(step, {"loss": float(step)})
        if step == 12:
            while len(live._client.get_metric_history(live.run_id, "loss")) < 12:
                time.sleep(0.05)  # until these are delivered; the rest is not
    print(live.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_run_of_a_killed_driver_continued_has_every_step_once_and_ends_finished(config: TrackingConfig) -> None:
    """The checkpoint was of step 16: history up to there is told again, and the steps after it are done again."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_DRIVER, str(config.uri)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    run_id = killed.stdout.strip()
    read = client(config)
    before = read.get_metric_history(run_id, "loss")
    assert [m.step for m in before] == list(range(1, 13))
    assert read.get_run(run_id).info.status == "RUNNING"
    with run(config, RunAbout(**{**vars(ABOUT), "run_id": run_id})) as live:
        for step in [*range(1, 17), *range(17, 31)]:
            live.log_metrics(step, {"loss": float(step), "heldout_loss": 1.0} if step % 10 == 0 else {"loss": step})
    assert live.problems == []
    history = read.get_metric_history(run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(step, float(step)) for step in range(1, 31)]
    assert [m.timestamp for m in history[:12]] == [m.timestamp for m in before], "what is there stays as it is"
    assert [m.step for m in read.get_metric_history(run_id, "heldout_loss")] == [10, 20, 30]
    assert [step for step, _ in live.history.curves["loss"]] == list(range(1, 31)), "the figures are whole"
    assert read.get_run(run_id).info.status == "FINISHED"


def test_log_metrics_told_again_in_the_same_process_is_recorded_once(config: TrackingConfig) -> None:
    """As after a worker's death: it goes on from its checkpoint, and its first steps are known."""
    with run(config, ABOUT) as live:
        for step in [1, 2, 3, 4, 3, 4, 5]:
            live.log_metrics(step, {"loss": float(step)})
            time.sleep(0.01)
    assert [m.step for m in client(config).get_metric_history(live.run_id, "loss")] == [1, 2, 3, 4, 5]
    assert [step for step, _ in live.history.curves["loss"]] == [1, 2, 3, 4, 5]


def test_run_unknown_run_id_is_bad_input(config: TrackingConfig) -> None:
    about = RunAbout(**{**vars(ABOUT), "run_id": "0" * 32})
    with pytest.raises(InputError, match="0000"), run(config, about):
        pytest.fail("must not start")


def test_run_leaves_the_tracking_uri_of_the_process_as_it_was(
    config: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with run(config, ABOUT):
        assert os.environ["MLFLOW_TRACKING_URI"] == config.uri, "workers inherit it"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_run_prints_nothing(config: TrackingConfig, capfd: pytest.CaptureFixture[str]) -> None:
    with run(config, ABOUT) as live:
        live.log_metrics(1, {"loss": 2.0})
    assert "".join(capfd.readouterr()) == ""


def test_run_system_metrics_are_logged(mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    config = TrackingConfig(uri=mlflow_store)
    with run(config, ABOUT) as live:
        time.sleep(1.2)
    assert "system/cpu_utilization_percentage" in client(config).get_run(live.run_id).data.metrics


def test_log_metrics_strange_name_is_kept_with_another_character(config: TrackingConfig) -> None:
    with run(config, ABOUT) as live:
        live.log_metrics(1, {"top-1 (%)": 40.0, "loss": 2.0})
    assert live.problems == []
    assert set(client(config).get_run(live.run_id).data.metrics) == {"top-1 ___", "loss"}


def test_log_metrics_costs_a_step_next_to_nothing(config: TrackingConfig) -> None:
    metrics = {f"metric_{i}": 1.0 for i in range(12)}
    with run(config, ABOUT) as live:
        start = time.perf_counter()
        for step in range(200):
            live.log_metrics(step, metrics)
        seconds = (time.perf_counter() - start) / 200
    assert seconds < 0.002, f"{seconds * 1000:.2f} ms a step; MLflow's own log_metrics takes 20"


def test_workdir_of_run_id_and_latest(config: TrackingConfig) -> None:
    for workdir in ("/runs/one", "/runs/two"):
        with run(config, RunAbout(**{**vars(ABOUT), "workdir": workdir})) as live:
            pass
        time.sleep(0.01)  # start times are milliseconds
        assert workdir_of(config, live.run_id) == workdir
    assert workdir_of(config, "latest") == "/runs/two"


def test_workdir_of_unknown_run_is_bad_input(config: TrackingConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run abc"):
        workdir_of(config, "abc")
    with pytest.raises(InputError, match="no run latest"):
        workdir_of(TrackingConfig(uri=f"sqlite:///{tmp_path}/none.db"), "latest")


@pytest.fixture
def server(mlflow_app: Wsgi) -> Iterator[Server]:
    served = Server(mlflow_app)
    mlflow.MlflowClient(served.uri).search_experiments()  # opening its store sets this process's tracking uri
    yield served
    served.stop()


def test_log_metrics_server_away_for_a_moment_loses_nothing(server: Server, corpus: Corpus) -> None:
    with run(TrackingConfig(uri=server.uri, system_metrics=False), ABOUT) as live:
        live.log_metrics(1, {"loss": 1.0})
        server.stop()
        for step in range(2, 60):
            live.log_metrics(step, {"loss": float(step)})
        live.log_dataset(corpus, "mine")
        time.sleep(2.5)
        server.start()
        live.log_metrics(60, {"loss": 60.0})
    history = mlflow.MlflowClient(server.uri).get_metric_history(live.run_id, "loss")
    assert [m.step for m in history] == list(range(1, 61))
    assert live.problems == []
    assert live.waits == ""
    (used,) = mlflow.MlflowClient(server.uri).get_run(live.run_id).inputs.dataset_inputs
    assert used.dataset.name == "mine", "told at the end of the run"
    assert live.url == f"{server.uri}/#/experiments/{live.experiment_id}/runs/{live.run_id}"


def test_run_that_ends_while_the_server_is_away_waits_for_it_and_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away until that is said, and for a second attempt after it."""
    monkeypatch.setattr("pipeline.tracking.live_run.QUIET", 1.0)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        threading.Timer(1.0, server.start).start()

    with run(TrackingConfig(uri=server.uri, system_metrics=False), ABOUT, say) as live:
        server.stop()
        for step in range(1, 60):
            live.log_metrics(step, {"loss": float(step)})
    read = mlflow.MlflowClient(server.uri)
    assert [m.step for m in read.get_metric_history(live.run_id, "loss")] == list(range(1, 60))
    assert read.get_run(live.run_id).info.status == "FINISHED"
    assert live.problems == []
    assert said[0].startswith(f"MLflow at {server.uri}: 59 metric values are not delivered yet (last error: ")
    assert said[0].endswith("; Ctrl-C gives up")


def test_run_stopped_by_sigterm_while_the_server_is_away_does_not_wait_for_long(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pipeline.tracking.live_run.NOTICE", 0.5)
    config = TrackingConfig(uri=server.uri, system_metrics=False)
    started: list[LiveRun] = []

    def stopped() -> None:
        with run(config, RunAbout(**{**vars(ABOUT), "workdir": str(tmp_path)})) as live:
            started.append(live)
            server.stop()
            live.log_metrics(1, {"loss": 1.0})
            raise Preempted(1)

    with pytest.raises(Preempted):
        stopped()
    server.start()
    assert any("1 metric values were not delivered" in problem for problem in started[0].problems)
    assert mlflow.MlflowClient(server.uri).get_run(started[0].run_id).info.status == "RUNNING"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_log_metrics_real_server_frozen_then_killed_then_back_on_its_port_has_every_step_once(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")  # a frozen one writes what it took, once it thaws: twice?
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    store, said = Store(uri=mlflow_store, artifacts=str(tmp_path / "artifacts")), []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def up() -> "subprocess.Popen[bytes]":
        log = (tmp_path / "server.log").open("w+b")
        started = _start_server(store, port, log)
        _wait_until_it_answers(started, port, log)
        return started

    def tell(live: LiveRun, steps: range) -> None:
        for step in steps:
            live.log_metrics(step, {"loss": float(step), "learning_rate": 1.0})
            time.sleep(0.1)

    servers = [up()]
    back = threading.Timer(6, lambda: servers.append(up()))
    try:
        with run(TrackingConfig(uri=f"http://127.0.0.1:{port}", system_metrics=False), ABOUT, said.append) as live:
            tell(live, range(1, 40))
            os.killpg(servers[0].pid, signal.SIGSTOP)
            tell(live, range(40, 160))
            os.killpg(servers[0].pid, signal.SIGCONT)
            tell(live, range(160, 200))
            os.killpg(servers[0].pid, signal.SIGKILL)
            tell(live, range(200, 240))
            back.start()
        read = mlflow.MlflowClient(mlflow_store)
        for name in ("loss", "learning_rate"):
            assert [m.step for m in read.get_metric_history(live.run_id, name)] == list(range(1, 240)), name
        assert read.get_run(live.run_id).info.status == "FINISHED"
        assert live.problems == []
    finally:
        back.join()
        for server in servers:
            _stop(server)


def test_run_over_leaves_mlflow_to_the_environment_as_it_was(
    mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.tracking.run import quiet_mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///before.db")
    with run(TrackingConfig(uri=mlflow_store, system_metrics=False), ABOUT):
        assert os.environ["MLFLOW_TRACKING_URI"] == mlflow_store
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///before.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///after.db")
    assert quiet_mlflow().get_tracking_uri() == "sqlite:///after.db"
