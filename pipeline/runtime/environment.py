"""What a result was made with: versions and the commit. Recorded and shown, and never part of a fingerprint."""

import os
import platform
import subprocess
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

COMMIT_VARIABLE, DIRTY_VARIABLE = "DISTILRAY_COMMIT", "DISTILRAY_DIRTY"
"""Tell the commit, and whether files differed from it (true or false), where there is no repository to ask: a working
directory sent to a cluster has no .git. `deploy/runtime-env` sets both."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions are None where a distribution is not installed, the commit where nothing tells it, and all of it where
    a record does not say."""

    python: str | None = None
    torch: str | None = None
    ray: str | None = None
    transformers: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    """Whether files differed from that commit."""


def made_with(then: Environment, now: Environment) -> str:
    """What a result was made with, as far as that is known and differs from `now`: "torch 2.9.1, commit 1a2b3c4"."""
    versions = [field.name for field in fields(then) if field.name not in ("commit", "dirty")]
    known = {name: getattr(then, name) for name in versions}
    found = [f"{name} {text}" for name, text in known.items() if text not in (None, getattr(now, name))]
    if then.commit is not None and (then.commit, then.dirty) != (now.commit, now.dirty):
        found.append(f"commit {then.commit[:7]}{' and changed files' if then.dirty else ''}")
    return ", ".join(found)


@cache
def environment() -> Environment:
    """This process's, as it was when first asked for: what is loaded stays, whatever is checked out meanwhile.

    Imports none of the libraries it names, so that it costs milliseconds.
    """
    commit, dirty = _checked_out() or _told()
    return Environment(
        python=platform.python_version(),
        torch=installed("torch"),
        ray=installed("ray"),
        transformers=installed("transformers"),
        commit=commit,
        dirty=dirty,
    )


def _checked_out() -> tuple[str, bool | None] | None:
    """(commit, dirty) of the repository that this file is in; None where it is in none."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _told() -> tuple[str | None, bool | None]:
    """(commit, dirty) by the environment; None for what it does not say."""
    said = {"true": True, "false": False}
    return os.environ.get(COMMIT_VARIABLE) or None, said.get(os.environ.get(DIRTY_VARIABLE, "").lower())


def installed(distribution: str) -> str | None:
    """The version of a distribution, by its metadata; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the repository that this file belongs to; None without git or outside of a repository.

    A virtual environment inside of somebody else's repository must not report that one's commit, so the repository
    counts only where its top is the folder that holds this package.
    """
    top = Path(__file__).resolve().parents[2]
    if not (top / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(top), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
