"""`distil runs`: what workdirs say of themselves, as text and as JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workdirs import a_report, a_run, aged

from pipeline.cli.main import main
from pipeline.records.workdir import begin_run, read_run
from pipeline.runtime.lock import locked
from stages.storage import Folder

FIRST, SECOND, THIRD = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """./runs with a finished run, made last, and one that was stopped."""
    folder = tmp_path / "runs"
    a_run(folder / "finished", FIRST, report=a_report(FIRST))
    a_run(folder / "stopped", SECOND, ("name", "mine"), ended=False)
    aged(folder / "stopped", 60)
    return folder


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["runs", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["runs"]


def test_runs_as_text_is_a_line_a_run_the_newest_first(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["recipe", "state", "kept", "loss", "when", "(UTC)", "where"]
    run = read_run(runs / "finished")
    assert run is not None
    assert run.finished is not None
    day, minute = run.finished[:16].split("T")
    assert first.split() == ["demo", "finished", "90.0%", "3.400", day, minute, "runs/finished"]
    assert second.split()[:4] == ["mine", "stopped", "–", "–"]
    assert second.index("runs/stopped") == first.index("runs/finished")


def test_runs_as_json_has_the_keys_that_are_documented(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = answered(capsys)
    run = read_run(runs / "finished")
    assert run is not None
    assert first == {
        "workdir": str(runs / "finished"),
        "state": "finished",
        "recipe": "demo",
        "started": run.started,
        "finished": run.finished,
        "kept_top1": 0.9,
        "mlm_loss": 3.4,
        "mlflow_run_id": FIRST,
        "tracking_uri": "sqlite:////data/mlflow.db",
    }
    unknown = ("finished", "kept_top1", "mlm_loss")
    assert (second["recipe"], second["state"], *(second[name] for name in unknown)) == ("mine", "stopped", *[None] * 3)


def test_runs_with_somebody_at_work_is_running_and_not_disturbed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(Folder(str(runs / "stopped")), pytest.fail):
        assert [row["state"] for row in answered(capsys)] == ["finished", "running"]
    assert [row["state"] for row in answered(capsys)] == ["finished", "stopped"]


def test_runs_of_a_run_that_was_begun_anew_does_not_show_the_report_of_the_one_before(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_run(runs / "finished", config="config.yaml", mlflow_run_id=THIRD)
    row = answered(capsys)[0]
    assert (row["state"], row["kept_top1"], row["mlflow_run_id"]) == ("stopped", None, THIRD)


def test_runs_of_folders_takes_workdirs_and_folders_of_some_each_once(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = a_run(tmp_path / "other", THIRD)
    found = answered(capsys, "other", str(runs), "runs/stopped")
    assert [row["workdir"] for row in found] == [str(other), str(runs / "finished"), str(runs / "stopped")]


def test_runs_with_damaged_files_still_shows_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "stopped" / "run.json").write_text("{")
    (runs / "finished" / "report.json").write_text("{")
    (runs / "finished" / "config.yaml").write_text("[")
    rows = {Path(row["workdir"]).name: row for row in answered(capsys)}
    assert rows["stopped"]["state"] == "damaged"
    assert (rows["finished"]["state"], rows["finished"]["recipe"]) == ("finished", None)
    assert main(["runs"]) == 0


def test_runs_shows_no_secret_and_is_json_whatever_a_loss_became(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = a_report(FIRST)
    worst = replace(report, student=replace(report.student, mlm_loss=float("nan")), recipe="s3://key:secret@bucket")
    a_run(runs / "finished", FIRST, report=worst)
    row = answered(capsys)[0]
    assert (row["mlm_loss"], row["recipe"]) == (None, "s3://***@bucket")
    assert main(["runs"]) == 0
    assert "secret" not in capsys.readouterr().out


def test_runs_where_there_are_none_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered(capsys) == []
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == f"there is no run below {tmp_path}/runs yet: start one with `distil run demo`.\n"


def test_runs_of_a_folder_that_is_not_there_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "nowhere", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "there is no folder nowhere: give a workdir, or a folder that holds some.\n"
