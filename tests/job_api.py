"""The job API of a cluster of two nodes, as a person uses it: `ray job submit`, and the head's answers over HTTP."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from two_nodes import BIN, TwoNodes

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300.0
"""Seconds that a job may take."""


def ray_job_submit(cluster: TwoNodes, env: dict[str, str], words: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command as cluster.yaml gives it."""
    command = [str(BIN / "ray"), "job", "submit", "--no-wait", "--address", cluster.dashboard]
    command += ["--working-dir", str(ROOT), "--runtime-env-json", json.dumps(runtime_env()), *words]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def runtime_env() -> dict[str, Any]:
    """What deploy/runtime-env prints."""
    done = subprocess.run([ROOT / "deploy" / "runtime-env"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def is_refused(cluster: TwoNodes) -> bool:
    """Whether a client without the token is sent away for that reason, and its job is not there afterwards."""
    stranger = {name: value for name, value in cluster.env.items() if not name.startswith("RAY_AUTH")}
    words = ["--submission-id", "stranger", "--", "true"]
    done = ray_job_submit(cluster, stranger | {"HOME": str(cluster.home)}, words)
    known = {job["submission_id"] for job in ask(cluster, "/api/jobs/")}
    return done.returncode != 0 and "Unauthorized" in done.stdout + done.stderr and "stranger" not in known


def until_over(cluster: TwoNodes, name: str, every: float = 0.25) -> Iterator[None]:
    """Come back every few moments while the job lasts; RuntimeError, with its log, where it fails."""
    end = time.monotonic() + PATIENCE
    while status(cluster, name) in ("PENDING", "RUNNING"):
        if time.monotonic() > end:
            raise TimeoutError(f"{name} was not over after {PATIENCE:.0f} s:\n{job_log(cluster, name)}")
        yield
        time.sleep(every)
    if status(cluster, name) != "SUCCEEDED":
        raise RuntimeError(f"{name} failed:\n{job_log(cluster, name)}")


def wait_for_both(cluster: TwoNodes) -> None:
    """Return once both nodes have joined; TimeoutError where one never does."""
    end = time.monotonic() + PATIENCE
    while sum(node["state"] == "ALIVE" for node in ask(cluster, "/api/v0/nodes")["data"]["result"]["result"]) < 2:
        if time.monotonic() > end:
            raise TimeoutError(f"the second node did not join within {PATIENCE:.0f} s")
        time.sleep(0.5)


def status(cluster: TwoNodes, name: str) -> str:
    """What the job API says of the job."""
    return str(ask(cluster, f"/api/jobs/{name}")["status"])


def job_log(cluster: TwoNodes, name: str) -> str:
    """All that the job has printed."""
    return str(ask(cluster, f"/api/jobs/{name}/logs")["logs"])


def nodes_of_workers(cluster: TwoNodes) -> set[str]:
    """Ids of the nodes that training's workers are on at the moment."""
    actors = ask(cluster, "/api/v0/actors?limit=1000")["data"]["result"]["result"]
    return {a["node_id"] for a in actors if a["class_name"] == "RayTrainWorker" and a["state"] == "ALIVE"}


def ask(cluster: TwoNodes, path: str) -> Any:
    """The answer of the head's dashboard to one with the token. (In this process Ray itself has no token: it looks for
    the mode when it is imported.)"""
    token = Path(cluster.env["RAY_AUTH_TOKEN_PATH"]).read_text()
    request = urllib.request.Request(cluster.dashboard + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
