"""`distil doctor` on a Ray of this machine, as text and as JSON."""

import json
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.doctor.probe import code_digest, find_gpus

ROOT = Path(__file__).resolve().parents[3]
CHECKS = ["machines", "Python", "Ray", "torch", "transformers", "distilray's code", "GPUs", "/dev/shm", "open files"]
CHECKS += ["clocks", "network", "storage", "MLflow"]


@pytest.mark.usefixtures("ray_session")
def test_doctor_finds_nothing_wrong_here_and_leaves_nothing_behind(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--storage", str(tmp_path), "--tracking.uri", mlflow_store, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [check["check"] for check in found["checks"]] == CHECKS
    assert found["would_fail"] is False
    (machine,) = found["machines"]
    assert machine["facts"]["software"]["code"] == code_digest(ROOT)
    assert abs(machine["clock"]["ahead"]) < 1
    assert set(found["storage"]) == {"the driver", machine["address"]}
    assert all(access["read"] > 0 and access["written"] > 0 for access in found["storage"].values())
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow"]


@pytest.mark.usefixtures("ray_session")
def test_doctor_says_what_a_run_would_be_refused_for_with_status_2(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["doctor", "demo", "--storage", str(tmp_path / "file"), "--tracking.uri", mlflow_store]) == 2
    out, err = capsys.readouterr()
    rows = {line[3:20].strip(): line[0] for line in out.split("\n\n")[0].splitlines()}
    assert [name for name, mark in rows.items() if mark != "✓"] == ["storage", "recipe"]
    assert any(line.startswith("✗ ") and "file" in line for line in out.split("\n\n")[1].splitlines())
    assert err == "a run would fail here, for what is marked ✗; mend that, and ask again.\n"


@pytest.mark.usefixtures("ray_session")
def test_doctor_says_that_ray_would_wait_for_ever_for_workers_without_room(
    tmp_path: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fields = ["--distil.workers", "3", "--distil.cpus-per-worker", "3", "--tracking.uri", mlflow_store]
    assert main(["doctor", "demo", *fields]) == 2
    assert "distil.workers asks for 3 workers of 3 CPUs each, and there is room for 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:8265", "is where jobs are submitted"),
        ("127.0.0.1:1", "nothing answers at 127.0.0.1:1 (Connection refused)"),
        ("head:port", "has no port"),
    ],
)
def test_an_address_without_a_cluster_is_bad_input(
    address: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--address", address]) == 2
    assert words in capsys.readouterr().err


def test_other_source_files_have_another_digest(tmp_path: Path) -> None:
    for package in ("pipeline", "stages"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("A = 1\n")
    before = code_digest(tmp_path)
    (tmp_path / "stages" / "a.txt").write_text("no code")
    assert code_digest(tmp_path) == before
    (tmp_path / "stages" / "a.py").write_text("A = 2\n")
    assert code_digest(tmp_path) != before


def test_gpus_are_what_nvidias_tool_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 560.35.03'\necho 'NVIDIA H100 80GB HBM3, 560.35.03'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = find_gpus(0.0)
    assert (len(found.names), found.driver, found.problem) == (2, "560.35.03", None)
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch.'\nexit 18\n")
    assert find_gpus(0.0).problem == "nvidia-smi says: Failed to initialize NVML: Driver/library version mismatch"
