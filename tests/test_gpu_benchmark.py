"""benchmarks/gpu.py, small and on the CPU: every part runs, whatever else happens, and with nothing but torch."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
ABSENT = "ray mlflow pyarrow pydantic psutil datasets tyro rich"
"""As if none of these were installed: an import of one raises ModuleNotFoundError."""
PARTS = "losses step speed speed_compiled packing profile micro_batch resume fp16 ablation".split()


def asked(*words: str, alone: bool = False) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, with `ABSENT` absent where it is to be `alone`."""
    absent = ABSENT.split() if alone else []
    code = (
        f"import sys, runpy\nfor name in {absent}: sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(BENCHMARKS)!r})\nsys.argv = ['gpu.py', *{list(words)!r}]\n"
        f"runpy.run_path({str(BENCHMARKS / 'gpu.py')!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.timeout(900)  # 30 s on two idle cores
def test_every_part_is_ok_on_a_cpu_with_nothing_but_torch_and_transformers(tmp_path: Path) -> None:
    done = asked("--cpu", "--out", str(tmp_path), alone=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert (found["device"], found["torch"]) == ("cpu", torch.__version__)
    assert list(found)[3:] == PARTS
    assert all(found[part]["ok"] and found[part]["seconds"] > 0 for part in PARTS)
    page = (tmp_path / "gpu.md").read_text()
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == PARTS
    assert found["resume"]["as_it_is"]["identical"]
    assert found["fp16"]["skipped"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_sentence_and_status_2(tmp_path: Path) -> None:
    done = asked("--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("there is no CUDA device here")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return runpy.run_path(str(BENCHMARKS / "gpu.py"))
    finally:
        sys.path.remove(str(BENCHMARKS))


def dies(sizes: object, device: object, note: Any) -> None:
    import os

    note({"so far": 1})
    os._exit(7)


def hangs(sizes: object, device: object, note: Any) -> None:
    import time

    note({"so far": 1})
    time.sleep(600)


def raises(sizes: object, device: object, note: Any) -> None:
    note({"so far": 1})
    raise ValueError("no such luck")


def finds_a_fault(sizes: object, device: object, note: Any) -> None:
    note({"so far": 1, "faults": ["it is wrong"]})


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (dies, "its process ended with exit status 7"),
        (hangs, "ran past its limit of 2 s"),
        (raises, "ValueError: no such luck"),
        (finds_a_fault, None),
    ],
)
def test_a_part_that_fails_keeps_what_it_had_noted(part: Any, error: str | None, script: dict[str, Any]) -> None:
    told: list[dict[str, Any]] = []
    found = script["ask"](part, 2, None, torch.device("cpu"), lambda figures: told.append(dict(figures)))
    assert found["so far"] == told[0]["so far"] == 1
    assert not found["ok"]
    assert found.get("error") == error
