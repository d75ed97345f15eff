"""MLflow where real ones are: below a path, behind a password or a proxy, at Databricks, in a database of its own."""

import sys
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import mlflow
import pytest
from mlflow_server import Front, Proxy, Server, Wsgi

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import RunAbout, run
from pipeline.tracking.store import check
from stages.errors import InputError

USER, PASSWORD, TOKEN = "anna", "hunter2hunter2", "tok-1234567890"


@pytest.fixture
def app(mlflow_app: Wsgi, monkeypatch: pytest.MonkeyPatch) -> Wsgi:
    """MLflow's server as a program, without an address yet; nothing of who asks is in the environment."""
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return mlflow_app


@pytest.fixture
def serve() -> Iterator[Callable[[Wsgi], str]]:
    """Serves a program until the test is over; gives its address."""
    servers: list[Server] = []

    def started(program: Wsgi) -> str:
        servers.append(Server(program))
        return servers[-1].uri

    yield started
    for server in servers:
        server.stop()


def refusal(uri: str, experiment: str = "distilray") -> str:
    with pytest.raises(InputError) as refused:
        check(TrackingConfig(uri=uri, experiment=experiment), workers_elsewhere=True)
    assert PASSWORD not in str(refused.value)
    assert TOKEN not in str(refused.value)
    return str(refused.value)


def test_server_below_a_path_with_a_password_is_recorded_to(
    app: Wsgi, serve: Callable[[Wsgi], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = serve(Front(app, path="/team/mlflow", user=f"{USER}:{PASSWORD}"))
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    config = TrackingConfig(uri=f"{uri}/team/mlflow/", system_metrics=False, experiment="behind")
    check(config, workers_elsewhere=True)
    about = RunAbout(name="demo", workdir="/w", fingerprint="f", parameters={"seed": 7}, yaml="seed: 7\n")
    with run(config, about) as live:
        live.log_metrics(1, {"loss": 2.0})
    assert live.problems == []
    assert live.url == f"{uri}/team/mlflow/#/experiments/{live.experiment_id}/runs/{live.run_id}"
    found = mlflow.MlflowClient(f"{uri}/team/mlflow").get_run(live.run_id)
    assert (found.info.status, found.data.metrics["loss"], found.data.params["seed"]) == ("FINISHED", 2.0, "7")
    check(config, workers_elsewhere=True)  # its experiment is there now, and with it the place of its files
    assert f"tracking.uri is {uri}, which answers 404 and not as MLflow" in refusal(uri)


def test_server_that_wants_to_know_who_is_there(
    app: Wsgi, serve: Callable[[Wsgi], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = serve(Front(app, user=f"{USER}:{PASSWORD}", token=TOKEN))
    assert "was given nothing (401): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in refusal(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    assert "was given the user of MLFLOW_TRACKING_USERNAME (401)" in refusal(uri)
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    check(TrackingConfig(uri=uri), workers_elsewhere=True)


def test_server_that_allows_nothing(app: Wsgi, serve: Callable[[Wsgi], str], monkeypatch: pytest.MonkeyPatch) -> None:
    uri = serve(Front(app, forbidden=True))
    assert "which lets nobody in without a name (403): ask for the right to it, or set MLFLOW" in refusal(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    assert "which lets the token of MLFLOW_TRACKING_TOKEN do nothing (403)" in refusal(uri)


@pytest.fixture
def proxy(app: Wsgi, serve: Callable[[Wsgi], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Proxy]]:
    """A proxy in the environment, behind which MLflow is called mlflow.example."""

    class Ours(Proxy):
        target = serve(app)
        asked: ClassVar[list[str]] = []

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Ours)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{httpd.server_port}")
    yield Ours
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_server_behind_a_proxy_is_asked_through_it(proxy: type[Proxy]) -> None:
    proxy.rewrites = True
    check(TrackingConfig(uri="http://mlflow.example:5000"), workers_elsewhere=True)
    assert proxy.asked
    assert all(address.startswith("http://mlflow.example:5000/") for address in proxy.asked)


def test_server_that_does_not_know_its_own_name_says_how_to_tell_it(proxy: type[Proxy]) -> None:
    said = refusal("http://mlflow.example:5000")
    assert "MLflow answers 403 since it does not know that name" in said
    assert "--allowed-hosts mlflow.example:5000" in said


@pytest.mark.parametrize(
    ("uri", "driver", "package"),
    [
        ("postgresql+psycopg2://me@127.0.0.1:1/mlflow", "psycopg2", "psycopg2-binary"),
        ("postgresql+psycopg://127.0.0.1:1/mlflow", "psycopg", "'psycopg[binary]'"),
        ("mysql+pymysql://127.0.0.1:1/mlflow", "pymysql", "pymysql"),
    ],
)
def test_database_without_its_driver_says_what_to_install(
    uri: str, driver: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    assert refusal(uri) == f"tracking.uri is {uri}, for which the package {driver} is missing: pip install {package}."


def test_database_s_password_in_the_address_is_refused_with_where_it_goes() -> None:
    said = refusal(f"postgresql://me:{PASSWORD}@host/mlflow")
    assert "tracking.uri holds a user name or password in an address" in said
    assert "PGPASSWORD or ~/.pgpass" in said


def test_databricks_is_asked_by_its_own_client(
    app: Wsgi, serve: Callable[[Wsgi], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    assert "such as /Shared/distilray" in refusal("databricks")
    assert "set DATABRICKS_HOST and DATABRICKS_TOKEN" in refusal("databricks://mine", "/Shared/x")
    (tmp_path / "profiles").write_text(f"[mine]\nhost = {serve(app)}\ntoken = {TOKEN}\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "profiles"))
    check(TrackingConfig(uri="databricks://mine", experiment="/Shared/x"), workers_elsewhere=True)


def test_registry_of_its_own_that_does_not_answer_is_found_before_the_model_is_there(
    app: Wsgi, serve: Callable[[Wsgi], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:1")
    assert "MLFLOW_REGISTRY_URI is http://127.0.0.1:1, where no MLflow server answers" in refusal(serve(app))
