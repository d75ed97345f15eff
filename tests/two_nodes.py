"""A Ray of two nodes on this machine with token authentication on, and an MLflow server: what a cluster test needs.

Each node is a `ray start` of its own, with an address (127.0.0.1, 127.0.0.2), ports and a temporary folder of its own.
What kills a machine kills all processes of a node at once; so does `Node.kill`.
"""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import psutil

from pipeline.runtime.cluster import free_port

BIN = Path(sys.executable).parent
HEAD, SECOND = "127.0.0.1", "127.0.0.2"
OBJECT_STORE_BYTES = 200 * 1024**2
PATIENCE = 90.0
"""Seconds that a server may take to come up on a busy machine."""
QUICKLY = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray takes a machine for lost after some 15 s without an answer; here after 3 to 8."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster: one `ray start --block` and all that came of it."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL to every process of the node, the raylet first: nothing is told, nothing is cleaned up."""
        end(self.process, [signal.SIGKILL])


@dataclass(frozen=True)
class TwoNodes:
    """The running cluster, and how to talk to it."""

    home: Path
    """A folder that both nodes see: the cluster's shared storage."""
    dashboard: str
    mlflow: str
    env: dict[str, str]
    """For processes that may come in: it names the token."""
    gcs: str
    second: Node
    started: list[subprocess.Popen[bytes]] = field(repr=False)
    """All background processes, to be ended."""

    def start_another(self, cpus: int = 2) -> Node:
        """A node in the place of one that was killed, as an autoscaler would start it."""
        name = f"b{len(self.started)}"
        return start_node(self.home, name, SECOND, cpus, ["--address", self.gcs], self.env, self.started)


@contextmanager
def two_nodes(cpus: tuple[int, int] = (3, 3)) -> Iterator[TwoNodes]:
    """Both nodes and the MLflow server while the block runs; nothing of them is left afterwards, whatever happens."""
    home = Path(mkdtemp(prefix="dr"))  # short: the path of a Unix socket has 107 characters at most
    started: list[subprocess.Popen[bytes]] = []
    try:
        token = home / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        env = environment_of(token)
        gcs, dashboard = free_port(), free_port()
        head = ["--head", "--port", str(gcs), "--include-dashboard=true", "--dashboard-host", HEAD]
        head += ["--dashboard-port", str(dashboard)]
        mlflow = start_mlflow(home, env, started)
        start_node(home, "a", HEAD, cpus[0], head, env, started)
        wait_for(f"http://{HEAD}:{dashboard}/api/version", token.read_text())
        second = start_node(home, "b", SECOND, cpus[1], ["--address", f"{HEAD}:{gcs}"], env, started)
        wait_for(f"{mlflow}/health")
        yield TwoNodes(home, f"http://{HEAD}:{dashboard}", mlflow, env, f"{HEAD}:{gcs}", second, started)
    finally:
        end_all(started)
        shutil.rmtree(home, ignore_errors=True)


def environment_of(token: Path) -> dict[str, str]:
    """What every process of the cluster and every client inherits."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    return inherited | QUICKLY | {
        "PATH": f"{BIN}:{os.environ.get('PATH', '')}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "GLOO_SOCKET_IFNAME": "lo",
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def start_node(
    home: Path,
    name: str,
    address: str,
    cpus: int,
    role: list[str],
    env: dict[str, str],
    started: list[subprocess.Popen[bytes]],
) -> Node:
    """`ray start` with ports that no other node has; its output is in `<home>/<name>.log`."""
    command = ["ray", "start", "--block", *role, "--node-ip-address", address, "--num-cpus", str(cpus)]
    command += ["--num-gpus", "0", "--object-store-memory", str(OBJECT_STORE_BYTES), "--disable-usage-stats"]
    command += ["--min-worker-port", "0", "--max-worker-port", "0"]  # whichever are free
    for purpose in ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export"):
        command += [f"--{purpose}-port", str(free_port())]
    command += ["--temp-dir", str(home / name)]
    return Node(start(command, home / f"{name}.log", env, started))


def start_mlflow(
    home: Path, env: dict[str, str], started: list[subprocess.Popen[bytes]], artifacts: str | None = None
) -> str:
    """An MLflow server as a head has one: database on its disk, artifacts on the shared storage; gives its address."""
    port = free_port()
    command = ["mlflow", "server", "--host", HEAD, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db"]
    command += ["--artifacts-destination", artifacts or f"{home}/artifacts"]
    start(command, home / "mlflow.log", env, started)
    return f"http://{HEAD}:{port}"


def start(
    command: list[str], log: Path, env: dict[str, str], started: list[subprocess.Popen[bytes]]
) -> subprocess.Popen[bytes]:
    """A background process in a session of its own, noted in `started` so that it will be ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], stdout=output, stderr=output, env=env, start_new_session=True,
            preexec_fn=end_with_parent,
        )  # fmt: skip
    started.append(process)
    return process


def end_with_parent() -> None:
    """Have the kernel send SIGTERM once the process that started this one is gone, by whatever end: prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def end_all(started: list[subprocess.Popen[bytes]]) -> None:
    """End what was started, the last first: politely, then not."""
    for process in reversed(started):
        end(process, [signal.SIGTERM, signal.SIGKILL])


def end(process: subprocess.Popen[bytes], signals: list[signal.Signals]) -> None:
    """Send the signals in turn to a process and all that it started, until none of them is left."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for word in signals:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(word)
        _, family = psutil.wait_procs(family, timeout=10)
    process.wait(10)


def wait_for(url: str, token: str | None = None) -> None:
    """Return once the address answers; raises TimeoutError where it never does."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError as error:  # not up yet
            if time.monotonic() > until:
                raise TimeoutError(f"{url} did not answer within {PATIENCE:.0f} s: {error}") from error
            time.sleep(0.5)
