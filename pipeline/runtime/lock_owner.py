"""Who holds a workdir or a storage, as it says of itself in a lock or in a claim."""

import json
import os
import socket
import sys
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config.redaction import redacted
from stages.errors import InputError
from stages.storage import Folder


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
