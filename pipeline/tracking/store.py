"""Where MLflow keeps runs and models: which address, whether it can be used, and a server to look at it.

Imports no MLflow (1.5 s) until that is asked, so that every command may import this.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import unquote

from pipeline.config.redaction import refuse_secret
from pipeline.tracking.checks.client import quiet_mlflow
from pipeline.tracking.checks.database import check_database
from pipeline.tracking.checks.probe import probe
from pipeline.tracking.config import KINDS, SQLITE, TrackingConfig, kind_of, sqlite_address, sqlite_file
from stages.errors import InputError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
PATIENCE = 3.0
"""Seconds that our own server's health page may take to answer."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """An address that was settled on: absolute, so that it still means the same from another folder."""

    uri: str
    artifacts: str | None
    """The folder of new experiments' artifacts; None where the server decides."""

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for everything else."""
        return sqlite_file(self.uri) if self.uri.startswith(SQLITE) else None

    @property
    def page(self) -> str | None:
        """The server's page; None for a database or Databricks."""
        return self.uri if kind_of(self.uri) == "server" else None


def unless_named(tracking: TrackingConfig, begun: str | None) -> TrackingConfig:
    """With the address `begun`, of an MLflow in which something goes on, where today's command and environment name
    none."""
    if begun is None or tracking.uri or os.environ.get(URI_VARIABLE):
        return tracking
    return replace(tracking, uri=begun)


def store_of(config: TrackingConfig) -> Store:
    """The store that `config` means here and now; raises `InputError` for an address that cannot be one."""
    uri = config.uri or os.environ.get(URI_VARIABLE) or sqlite_address(Path("runs") / "mlflow.db")
    refuse_secret("tracking.uri" if config.uri else URI_VARIABLE, uri)  # nothing is contacted, or written down, before
    kind = kind_of(uri)
    if kind in ("server", "databricks"):
        return Store(uri=uri.rstrip("/"), artifacts=None)
    if kind is None:
        raise InputError(
            f"{URI_VARIABLE} is {uri!r} and must be {KINDS} (MLflow itself no longer writes to plain folders): set it "
            "to one of these, or unset it."
        )
    if kind == "database":
        return Store(uri=uri, artifacts=_artifact_location(Path("runs", "mlartifacts").absolute()))
    if "?" in uri:
        raise InputError(f"{URI_VARIABLE} is {uri!r}, with a ? in it: in a file's name it is written %3F.")
    file = sqlite_file(uri)
    return Store(uri=sqlite_address(file), artifacts=_artifact_location(file.parent / "mlartifacts"))


def _artifact_location(folder: Path) -> str:
    """A folder as MLflow is told of it: by its path, but for one in which MLflow would read `%20` as a space."""
    return str(folder) if unquote(str(folder)) == str(folder) else folder.as_uri()


@contextmanager
def tidied(store: Store) -> Iterator[None]:
    """Around the use of a store: MLflow makes the folder of an SQLite file by its address as it is written, so a
    folder `a%2520b` beside `a%20b`; it is removed again."""
    made = Path(store.uri.removeprefix(SQLITE)).parent if store.file else None
    ours = made is not None and store.file is not None and made != store.file.parent and not made.exists()
    try:
        yield
    finally:
        if ours and made is not None:
            with suppress(OSError):  # it was not made after all, or somebody keeps something in it
                os.removedirs(made)


def check(config: TrackingConfig, *, workers_elsewhere: bool) -> None:
    """Raise `InputError` where runs could not be recorded to their end; to be called before anything expensive.

    `workers_elsewhere`: whether processes on other machines take part; they cannot reach an SQLite file.
    """
    store = store_of(config)
    kind = kind_of(store.uri)
    if kind == "file":
        if workers_elsewhere:
            raise InputError(
                f"tracking.uri is {store.uri}, a file on this machine, but workers run on other machines: start "
                "`mlflow server` and give its http address."
            )
        assert store.file is not None
        _check_file(store.file)
        if not store.file.exists():
            return
    if kind == "databricks" and not config.experiment.startswith("/"):
        raise InputError(
            f"tracking.experiment is {config.experiment!r}, but Databricks takes paths alone: give one such as "
            "/Shared/distilray."
        )
    with tidied(store):
        quiet_mlflow()
        if kind in ("server", "databricks") or check_database(
            store.uri
        ):  # else MLflow makes its tables when a run starts
            probe(store.uri, config.experiment)


def _check_file(file: Path) -> None:
    """Raise where the database could not be made or opened at `file`."""
    if file.is_dir():
        raise InputError(f"tracking.uri names {file}, a folder: name a file in it, such as mlflow.db.")
    if file.exists():
        if not os.access(file, os.R_OK | os.W_OK):
            raise InputError(f"tracking.uri names {file}, which cannot be written: give another file.")
        with file.open("rb") as opened:
            if opened.read(6) not in (b"", b"SQLite"):
                raise InputError(f"tracking.uri names {file}, which is no SQLite database: give another file.")
    parent = next(folder for folder in file.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"tracking.uri names {file}, but {parent} cannot be written: give another place.")


def ui(config: TrackingConfig, port: int = 5000, say: Callable[[str], None] = print) -> None:
    """Serve the runs on http://127.0.0.1:`port` until interrupted; says the address once it answers.

    For a store that is a server already, only says its address. Raises `InputError` where there is nothing to show
    or the port is taken.
    """
    store = store_of(config)
    if kind_of(store.uri) == "databricks":
        raise InputError(f"runs at {store.uri} are shown by the Databricks workspace itself, under Experiments.")
    if store.page:
        probe(store.uri)
        say(store.page)
        return
    if store.file and not store.file.exists():
        raise InputError(f"there is no run to show yet: {store.file} does not exist; `distil run demo` makes it.")
    _check_free(port)
    with TemporaryFile() as log, tidied(store):
        server = _start_server(store, port, log)
        try:
            _wait_until_it_answers(server, port, log)
            say(f"http://127.0.0.1:{port}")
            server.wait()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            _stop(server)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"port {port} is taken on this machine: give another with --port.") from error


def _start_server(store: Store, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """MLflow's server in a session of its own, so that Ctrl-C reaches us alone and we stop all its processes."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--default-artifact-root", str(store.artifacts)]
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    """Return once the health page is there (40 s on a busy machine); raise with its last words if the server ended."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE):
                return
        except OSError:
            time.sleep(0.2)  # not up yet
    log.seek(0)
    words = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
    raise InputError(f"MLflow's server ended with status {server.returncode} and said: {words[0]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server with its workers: politely, then not."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, word)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:  # then the next word
                continue
