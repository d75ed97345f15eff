"""Who holds a workdir or a storage, as it says of itself in a lock or in a claim; whether anybody does."""

import errno
import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config.redaction import redacted
from stages.errors import InputError
from stages.storage import Folder

NAME, LOCK = "run.lock", "lock"
"""The locked file of a folder on a disk; the folder of claims of one where no file can be locked."""
DEAD = 60.0
"""Seconds without a sign of life after which anybody may take over a claim."""


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """Who holds a lock."""

    host: str
    pid: int
    since: str
    """ISO 8601, UTC."""
    command: str

    def __str__(self) -> str:
        return f"`{redacted(self.command)}` on {self.host} (process {self.pid}) since {self.since}"


def refusal(folder: Folder, said: bytes) -> InputError:
    """The sentence for who comes second; `said` is what the holder wrote about itself."""
    return InputError(
        f"{folder} is in use by {owner_of(said) or 'another run'}: wait for it, stop it, or give another --workdir "
        "and storage."
    )


def me() -> LockOwner:
    """This process."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return LockOwner(host=socket.gethostname(), pid=os.getpid(), since=since, command=redacted(command))


def owner_of(said: bytes) -> LockOwner | None:
    """What a holder wrote about itself; None where it had not come to it yet."""
    try:
        return LockOwner(**{field.name: json.loads(said)[field.name] for field in fields(LockOwner)})
    except (ValueError, KeyError, TypeError):
        return None


def is_held(workdir: Path) -> bool:
    """Whether a command is at work in a workdir now."""
    claims = (workdir / LOCK).glob("*.json")  # of a disk that has no locks
    return _is_locked(workdir / NAME) or any(time.time() - claim.stat().st_mtime < DEAD for claim in claims)


def _is_locked(file: Path) -> bool:
    """Tried only where somebody says to hold it, which a run wipes out that comes to its end: while it is tried, for
    the blink of an eye, a run that is just starting would be refused."""
    try:
        opened = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        if os.pread(opened, 1, 0):
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(opened)
    return False
