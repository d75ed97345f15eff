"""What a result was made with: versions and the commit. Recorded and shown, and never part of a fingerprint."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

COMMIT_VARIABLE = "DISTILRAY_COMMIT"
"""Names the commit where there is no repository to ask: a working directory sent to a cluster has no .git."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions are None where a distribution is not installed, the commit where nothing tells it."""

    python: str
    torch: str | None
    ray: str | None
    transformers: str | None
    commit: str | None
    dirty: bool | None
    """Whether files differed from that commit."""


def environment() -> Environment:
    """This process's; imports none of the libraries it names, so that it costs milliseconds."""
    commit = _git("rev-parse", "HEAD")
    changes = None if commit is None else _git("status", "--porcelain", "--untracked-files=no")
    return Environment(
        python=platform.python_version(),
        torch=_version("torch"),
        ray=_version("ray"),
        transformers=_version("transformers"),
        commit=commit or os.environ.get(COMMIT_VARIABLE),
        dirty=None if changes is None else bool(changes),
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the repository that this file belongs to; None without git or outside of a repository.

    A virtual environment inside of somebody else's repository must not report that one's commit, so the repository
    counts only where its top is the folder that holds this package.
    """
    top = Path(__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(top), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
