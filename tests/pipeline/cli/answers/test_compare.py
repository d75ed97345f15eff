"""`distil compare`: two runs side by side, as text and as JSON."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workdirs import a_report, a_run

from pipeline.cli.main import main
from pipeline.records.workdir import begin_run

ROOT = Path(__file__).resolve().parents[4]
FIRST, SECOND, THIRD = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """./runs with the demo and one that is hotter, and worse, on the same text."""
    folder, report = tmp_path / "runs", a_report(SECOND)
    a_run(folder / "demo", FIRST, report=a_report(FIRST))
    worse = replace(report, kept_top1=0.85, student=replace(report.student, mlm_loss=3.5))
    a_run(folder / "hot", SECOND, ("distil.temperature", "3"), ("distil.gpu", "false"), report=worse)
    return folder


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["compare", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_compare_as_text_has_the_fields_that_differ_and_the_figures(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "demo", SECOND]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "runs/demo", "runs/hot"]
    rows = [" ".join(line.split()) for line in lines]
    fields = rows[rows.index("fields that differ") + 1 : rows.index("figures") - 1]
    assert fields == ["distil.gpu none false", "distil.temperature 2.0 3.0"]
    assert "top-1 kept 90.0% 85.0%" in rows
    assert "student's loss 3.400 3.500" in rows
    assert "distilling took 3 min 00 s 3 min 00 s" in rows
    assert lines[0].index("runs/hot") == lines[1].rindex("demo"), "one column throughout"


def test_compare_as_json_has_the_keys_that_are_documented(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answered(capsys, "runs/demo", str(runs / "hot"))
    assert list(found) == ["runs", "fields", "figures", "same_heldout"]
    assert [run["workdir"] for run in found["runs"]] == [str(runs / "demo"), str(runs / "hot")]
    assert found["fields"] == {"distil.temperature": [2.0, 3.0], "distil.gpu": [None, False]}
    report = json.loads((runs / "demo" / "report.json").read_text(encoding="utf-8"))
    assert found["figures"]["student.mlm_loss"] == [report["student"]["mlm_loss"], 3.5]
    assert found["figures"]["seconds.corpus"] == [10.0, 10.0]
    assert not {"champion", "recipe", "verdict", "heldout_digest"} & set(found["figures"])
    assert found["same_heldout"] is True


def test_compare_on_other_heldout_text_says_that_it_is_no_comparison(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(runs / "other", THIRD, report=a_report(THIRD, heldout_digest="d2"))
    assert answered(capsys, "demo", "other")["same_heldout"] is False
    assert main(["compare", "demo", "other"]) == 0
    shown = capsys.readouterr().out
    assert "no field differs" in shown
    assert shown.endswith("scored on different held-out text: accuracies and losses do not compare.\n")


def test_compare_with_a_run_that_has_no_figures_yet_leaves_them_open(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(runs / "young", THIRD, ended=False)
    found = answered(capsys, "demo", "young")
    assert (found["figures"]["kept_top1"], found["same_heldout"]) == ([0.9, None], None)
    a_run(runs / "younger", "d" * 32, ended=False)
    assert main(["compare", "young", "younger"]) == 0
    assert "no figures yet" in capsys.readouterr().out


def test_compare_of_a_long_value_is_cut_in_the_text_and_whole_in_the_json(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(runs / "own", THIRD, ("corpus.paths", ",".join(f"text{number}.txt" for number in range(20))))
    assert main(["compare", "demo", "own"]) == 0
    shown = capsys.readouterr().out
    assert "text0.txt,text1.txt,text2.txt" in shown
    assert "text19" not in shown
    assert answered(capsys, "demo", "own")["fields"]["corpus.paths"][1].endswith("text19.txt")


def test_compare_with_a_run_that_its_workdir_no_longer_holds_is_bad_input(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_run(runs / "demo", config="config.yaml", mlflow_run_id=THIRD)
    assert main(["compare", FIRST, "hot"]) == 2
    assert capsys.readouterr().err.startswith(f"{runs}/demo holds a later run than {FIRST}")
    assert main(["compare", THIRD, "hot"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("demo runs/demo", "demo and runs/demo are both in"),
        ("demo hto", "there is no run hto; did you mean runs/hot?"),
        ("demo bare", "RUNS/bare/config.yaml cannot be read (No such file or directory)"),
        ("demo odd", "RUNS/odd/config.yaml: there is no field sead; did you mean seed?"),
    ],
)
def test_compare_of_what_cannot_be_compared_is_one_sentence(
    words: str, sentence: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (a_run(runs / "bare", THIRD) / "config.yaml").unlink()
    odd = a_run(runs / "odd", "d" * 32) / "config.yaml"
    odd.write_text(odd.read_text(encoding="utf-8").replace("seed:", "sead:"), encoding="utf-8")
    assert main(["compare", *words.split(), "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(sentence.replace("RUNS", str(runs)))
    assert shown.err.count("\n") == 1


def test_compare_for_a_reader_who_leaves_early_is_no_fault(runs: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pipeline.cli.main", "compare", "demo", "hot"]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
