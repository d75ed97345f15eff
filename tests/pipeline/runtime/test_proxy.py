"""Behind an HTTP proxy that never answers: what this machine asks of itself does not go there."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from requests.utils import should_bypass_proxies

from pipeline.runtime.proxy import bypass_loopback

ROOT = Path(__file__).resolve().parents[3]
STATE = """
import os, ray
from ray.util.state import list_actors
from pipeline.runtime.cluster import start_local
start_local(1, state=True)
os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address  # there may be another Ray on this machine
print(list_actors(timeout=20))
ray.shutdown()
"""


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a proxy that takes every connection and says nothing."""
    names = ("no_proxy", "NO_PROXY", "no_grpc_proxy", "RAY_ADDRESS")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), proxy)
        yield plain | proxies | {"PYTHONPATH": str(ROOT), "NO_PROXY": "intranet.example.org"}


@pytest.mark.parametrize(
    "given", [{}, {"no_proxy": "a.org"}, {"NO_PROXY": "a.org, localhost"}, {"no_proxy": "a.org", "NO_PROXY": "b.org"}]
)
def test_loopback_goes_past_the_proxy_by_either_spelling_and_what_was_there_stays(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(given)
    bypass_loopback(environment)
    for name in ("no_proxy", "NO_PROXY"):
        before = given.get(name) or next(iter(given.values()), "")
        for host in ("127.0.0.1", "localhost", *(part.strip() for part in before.split(",") if part)):
            assert urllib.request.proxy_bypass_environment(host, {"no": environment[name]}), f"{host} by {name}"
        assert not urllib.request.proxy_bypass_environment("mlflow.org", {"no": environment[name]})
        for other in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, environment[name])
        assert should_bypass_proxies("http://[::1]:8265/api", no_proxy=None), f"::1 by {name}"
    again = dict(environment)
    bypass_loopback(again)
    assert again == environment


def test_loopback_where_everything_goes_past_the_proxy_changes_nothing() -> None:
    environment = {"no_proxy": "*", "NO_PROXY": "*"}
    bypass_loopback(environment)
    assert environment == {"no_proxy": "*", "NO_PROXY": "*"}


def test_grpc_s_own_list_hides_no_loopback() -> None:
    environment = {"no_grpc_proxy": "a.org"}
    bypass_loopback(environment)
    assert environment["no_grpc_proxy"].split(",") == ["a.org", "127.0.0.1", "localhost", "::1"]


def test_ui_behind_a_proxy_finds_the_server_on_this_machine(proxied: dict[str, str], server: str) -> None:
    command = [sys.executable, "-m", "pipeline.cli.main", "ui"]
    environment = proxied | {"MLFLOW_TRACKING_URI": server}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{server}\n", "")


def test_ray_behind_a_proxy_answers_for_its_actors_as_a_stopped_trial_needs(
    proxied: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STATE], env=proxied, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
