"""What Ray's processes on this machine get of us, and not of wherever the command was given: a token, an import path,
a place for their sockets, and a session of their own."""

import os
import secrets
import site
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray._private import services
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled
from ray.job_config import JobConfig

from stages.errors import InputError

_ADDRESS_BYTES = 107
"""Of a Unix socket's address."""
MOST_BYTES = _ADDRESS_BYTES - len("/session_2026-11-27_01-12-12_599933_1234567/sockets/plasma_store")
"""Of the folder for Ray's sessions."""
_OF_PYTHON = "/pymp-12345678/listener-12345678"
"""What multiprocessing, of which Ray's dashboard makes use, puts into TMPDIR."""


def token() -> dict[str, str]:
    """A password of this one Ray, as its processes read it from the environment.

    Whatever address a local Ray is given, its servers listen on every interface of the machine: the token is all that
    keeps others out. It is in no file, so that a home that cannot be written, or a token of some cluster that lies
    there, makes no difference.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def environ(changes: Mapping[str, str]) -> Iterator[None]:
    """`changes` in the environment while the block runs, and so in that of the processes that it starts. Ray in this
    process reads its token and its settings anew: it has those of whatever it was connected to before."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def temporary_folder() -> str:
    """Where Ray's sessions go: below TMPDIR, unless that is too long for a socket's address or cannot be written; then
    the first place that can. Raises `InputError` where there is none."""
    given = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    for place in (given, "/tmp", os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm"):
        folder = os.path.join(os.path.abspath(place), "ray") if place else ""
        if folder and len(os.fsencode(folder)) <= MOST_BYTES and _is_writable(folder):
            return folder
    raise InputError(
        f"Ray has no place for its sockets: {given} is too long or cannot be written, nor can /tmp; set RAY_TMPDIR to "
        f"a folder whose name has at most {MOST_BYTES - len('/ray')} bytes."
    )


def short_tmpdir(folder: str) -> dict[str, str]:
    """TMPDIR of Ray's processes, beside Ray's own `folder`, where the given one is too long even for Python's sockets;
    nothing where it can stay: it may be where there is room."""
    given = os.environ.get("TMPDIR", "")
    too_long = len(os.fsencode(given + _OF_PYTHON)) > _ADDRESS_BYTES
    return {"TMPDIR": os.path.dirname(folder)} if too_long else {}


def job_config() -> JobConfig:
    """Of a driver whose tasks import what it imports itself. Ray would put the working directory ahead of everything
    on its workers' path, and somebody's stages.py there would be taken for ours."""
    root = str(Path(__file__).resolve().parents[2])
    return _OwnPath(_py_driver_sys_path=[] if root in site.getsitepackages() else [root])


class _OwnPath(JobConfig):
    def _runtime_env_has_working_dir(self) -> bool:
        """What Ray asks in order to know whether the path of its workers is given already."""
        return True


@contextmanager
def own_session() -> Iterator[None]:
    """Ray's processes that are started in the block do not hear what a terminal or `kill` tells the driver's process
    group: the driver needs them, to save a checkpoint, and it ends them itself."""
    before = services.ConsolePopen

    def start(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        return before(*arguments, start_new_session=True, **options)

    services.ConsolePopen = start
    try:
        yield
    finally:
        services.ConsolePopen = before


def _is_writable(folder: str) -> bool:
    try:
        os.makedirs(folder, mode=0o777, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
