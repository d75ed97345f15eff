"""`distil evaluate`: a run's teacher and student on labelled tasks, as a user has it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from rich.console import Console as Terminal
from tiny import WORDS
from tiny_pipeline import tiny_pipeline

from pipeline.cli.arguments import split
from pipeline.cli.commands.configured import Evaluate
from pipeline.cli.console import Console
from pipeline.cli.evaluated import config_to_evaluate
from pipeline.cli.main import main
from pipeline.config.schema import from_yaml, to_yaml
from pipeline.records.products import Products
from pipeline.run import run

RULES = ["--seeds", "2", "--epochs", "2", "--batch", "8", "--precision", "fp32"]


@dataclass(frozen=True)
class Ran:
    home: Path
    work: Path
    store: str


def labelled(home: Path) -> list[str]:
    """Three tasks in files: a class by the first word, a number of two texts, a class a word."""
    rng = np.random.default_rng(3)
    lines = [[WORDS[i] for i in rng.integers(0, len(WORDS), 6)] for _ in range(80)]
    low = {word: int(number < 20) for number, word in enumerate(WORDS)}
    rows = [f"{' '.join(one)},{'low' if low[one[0]] else 'high'}" for one in lines]
    (home / "intents.csv").write_text("\n".join(["text,intent", *rows]))
    pairs = [
        {"a": " ".join(one[:3]), "b": " ".join(one[3:]), "same": float(low[one[0]] + low[one[3]])} for one in lines
    ]
    (home / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    words = [{"tokens": one, "tags": ["B-low" if low[word] else "O" for word in one]} for one in lines]
    (home / "words.jsonl").write_text("\n".join(map(json.dumps, words)))
    return [
        f"{home}/intents.csv:text=text,label=intent",
        f"{home}/pairs.jsonl:text=a+b,label=same,kind=number,metric=r2",
        f"{home}/words.jsonl:text=tokens,label=tags,kind=tokens",
    ]


def evaluate(work: Path, *words: str, second_step: bool = False) -> tuple[Products, str]:
    """What `distil evaluate WORK …` does, and what it says."""
    _, fields = split(["evaluate", str(work), *words])
    config = config_to_evaluate(Evaluate(run=str(work), second_step=second_step), fields)
    printed = work / "printed.txt"
    with printed.open("w") as file:
        products = run(config, Console(Terminal(file=file, width=160)))
    return products, printed.read_text()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, ray_session: None) -> Ran:
    home = tmp_path_factory.mktemp("evaluated")
    config = tiny_pipeline(home, mlflow_template)
    with (home / "printed.txt").open("w") as file:
        run(config, Console(Terminal(file=file)))
    return Ran(home, Path(config.workdir), str(config.tracking.uri))


def fitted(work: Path) -> dict[str, int]:
    """When each fine-tuning was written down."""
    return {file.name: file.stat().st_mtime_ns for file in (work / "tasks" / "fitted").glob("*.json")}


@pytest.mark.timeout(600)
def test_evaluate_again_does_nothing_again_and_a_further_task_is_all_that_is_done(ran: Ran) -> None:
    specs = labelled(ran.home)
    asked = ["--tasks", specs[0], *RULES, "--learning-rates", "1e-3,3e-3"]
    products, _ = evaluate(ran.work, *asked)
    before = fitted(ran.work)
    assert len(before) == 2 * (2 + 2)  # of teacher and student, two settings tried and two seeds
    assert products.tasks is not None
    tried = [json.loads((ran.work / "tasks" / "fitted" / name).read_text()) for name in before]
    for model, found in products.tasks.artifact.results[0].models.items():
        inner = {
            one["setting"]["learning_rate"]: one["scores"][0] for one in tried if one["inner"] and one["model"] == model
        }
        assert inner[found.learning_rate] == max(inner.values())
    products, _ = evaluate(ran.work)
    assert products.tasks is not None
    assert products.tasks.reused
    products, _ = evaluate(ran.work, "--tasks", specs[1])
    assert products.tasks is not None
    assert [one.name for one in products.tasks.artifact.results] == ["intents", "pairs"]
    after = fitted(ran.work)
    assert {name: after[name] for name in before} == before


@pytest.mark.timeout(600)
def test_evaluate_adds_tasks_to_a_finished_run_and_publishes_it_again(ran: Ran) -> None:
    before = json.loads((ran.work / "report.json").read_text())
    products, said = evaluate(
        ran.work,
        *["--tasks", *labelled(ran.home), *RULES, "--learning-rates", "3e-3", "--baselines", "start,untaught"],
        second_step=True,
    )
    assert products.tasks is not None
    assert products.student is not None
    assert products.student.reused
    assert products.report is not None
    assert products.report.reused
    report = json.loads((ran.work / "report.json").read_text())
    assert {name: report[name] for name in ("teacher", "student", "heldout_digest")} == {
        name: before[name] for name in ("teacher", "student", "heldout_digest")
    }
    assert list(report["tasks"]) == ["intents", "pairs", "words"]
    expected = ["teacher", "student", "student at step 0", "without a teacher", "student, second step"]
    answers = json.loads((products.tasks.folder.path / "answers.json").read_text())
    for name, metric, kind in (
        ("intents", "accuracy", "classes"),
        ("pairs", "r2", "number"),
        ("words", "span_f1", "tokens"),
    ):
        task = report["tasks"][name]
        assert (task["metric"], task["kind"], task["seeds"], task["n"]) == (metric, kind, 2, 16)
        assert list(task["models"]) == expected == list(answers[name])
        for model in task["models"].values():
            assert len(model["by_seed"]) == 2
            assert model["score"] == pytest.approx(np.median(model["by_seed"]))
        if task["teacher"] > 0:
            assert task["kept"] == pytest.approx(task["student"] / task["teacher"])
        assert task["interval"][0] <= task["interval"][1]
        assert task["models"]["student"]["difference"] == [0.0, 0.0, 0.0]
        assert name in said
    card = (ran.work / report["folders"]["student"] / "README.md").read_text()
    assert "intents" in card.split("\n# ")[0]  # the hub's list of results
    assert "| intents | accuracy |" in card
    store = mlflow.MlflowClient(ran.store)
    params = store.get_run(report["mlflow_run_id"]).data.params
    assert params["evaluate.fine_tuning.seeds"] == "2"
    parent = store.get_run(report["mlflow_run_id"])
    below = store.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    by_name = {run.info.run_name: run for run in below}
    assert set(by_name) == {f"{task}: {model}" for task in report["tasks"] for model in expected}
    child, found = by_name["intents: student"], report["tasks"]["intents"]["models"]["student"]
    assert child.info.status == "FINISHED"
    assert child.data.metrics["final/kept"] == found["kept"]
    history = store.get_metric_history(child.info.run_id, "accuracy")
    assert [(point.step, point.value) for point in history] == list(enumerate(found["by_seed"]))


def test_evaluate_what_is_wrong_is_said_before_anything_runs(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    specs = labelled(ran.home)
    cases = {
        ("--tasks", f"{ran.home}/intents.csv:text=text,label=wrong"): "wrong",
        ("--tasks", f"{ran.home}/nowhere.csv:text=a,label=b"): "nowhere.csv",
        ("--tasks", "sst3"): "sst2",
        ("--tasks", specs[0], specs[0] + ",metric=macro_f1"): "two tasks called intents",
        ("--tasks", specs[0], "--sedes", "3"): "sedes",
        ("--tasks", specs[0], "--seeds", "0"): "evaluate.fine_tuning.seeds is 0",
    }
    for words, sentence in cases.items():
        work = str(ran.work)
        assert main(["evaluate", work, *words]) == 2, words
        said = capsys.readouterr().err
        assert sentence in said, (words, said)
        assert said.count("\n") == 1


def test_evaluate_without_a_task_says_how_one_is_given(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = from_yaml((ran.work / "config.yaml").read_text(), "config.yaml")
    none = replace(config, evaluate=replace(config.evaluate, tasks=()))
    (tmp_path / "config.yaml").write_text(to_yaml(none))
    (tmp_path / "run.json").write_bytes((ran.work / "run.json").read_bytes())
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "there is no task to evaluate on: give some, as in --tasks" in capsys.readouterr().err
