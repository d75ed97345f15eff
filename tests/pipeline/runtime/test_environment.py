"""Which commit a run is said to be made of: the checkout's own, else what came along in the environment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = (
    "import json; from pipeline.runtime.environment import environment as e; print(json.dumps([e().commit, e().dirty]))"
)


def told(folder: Path, **said: str) -> list[str | bool | None]:
    """(commit, dirty) of a copy of the code in `folder`, with this in its environment."""
    (folder / "pipeline" / "runtime").mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", "runtime/__init__.py", "runtime/environment.py"):
        shutil.copy(ROOT / "pipeline" / name, folder / "pipeline" / name)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DISTILRAY_", "GIT_"))}
    env = kept | {"PYTHONPATH": str(folder)} | said
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, [None, None]),
        ({"DISTILRAY_COMMIT": "abc"}, ["abc", None]),
        ({"DISTILRAY_COMMIT": "abc", "DISTILRAY_DIRTY": "true"}, ["abc", True]),
        ({"DISTILRAY_COMMIT": "abc", "DISTILRAY_DIRTY": "false"}, ["abc", False]),
        ({"DISTILRAY_COMMIT": "", "DISTILRAY_DIRTY": "perhaps"}, [None, None]),
    ],
)
def test_environment_without_a_repository_is_what_the_variables_say(
    tmp_path: Path, said: dict[str, str], expected: list[str | bool | None]
) -> None:
    assert told(tmp_path, **said) == expected


def test_environment_of_a_checkout_is_its_own_whatever_the_variables_say(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        done = subprocess.run(["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    told(tmp_path)
    git("init", "-q")
    git("add", "pipeline/__init__.py", "pipeline/runtime/environment.py")
    git("commit", "-qm", "one")
    lie = {"DISTILRAY_COMMIT": "abc", "DISTILRAY_DIRTY": "true"}
    assert told(tmp_path, **lie) == [git("rev-parse", "HEAD"), False]
    git("rm", "-q", "--cached", "pipeline/__init__.py")
    assert told(tmp_path, **lie) == [git("rev-parse", "HEAD"), True]
