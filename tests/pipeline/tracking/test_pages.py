"""What a person reads on MLflow's pages, and what runs are sorted by, read back from a real store."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from published import report_of, tiny_student
from recorded import corpus_in
from tiny_families import tiny_model, tokenizer_for

from pipeline.recipes import recipe
from pipeline.records.outcome import describe, log_final
from pipeline.records.products import Products
from pipeline.records.reuse import StageResult
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import FINAL, KIND, NOTE, OURS, command_line, of_run
from pipeline.tracking.registry import PublishedModel
from pipeline.tracking.run import RunAbout, run
from stages.context import StageContext
from stages.distillation.step import adamw
from stages.evaluation.artifact import Report
from stages.models import model_in
from stages.publish.artifact import Published
from stages.publish.config import PublishConfig
from stages.publish.stage import publish
from stages.storage import Folder
from stages.training.checkpoints import checkpoint, snapshot
from stages.training.checkpoints.checkpoint import TrainState

ABOUT = RunAbout(
    name="demo",
    workdir="/runs/demo",
    fingerprint="f",
    parameters={},
    yaml="seed: 0\n",
    description=of_run("demo", "distil run demo"),
)
MINE = "what a person wrote"
START = np.random.default_rng(1).gamma(4.0, 0.6, 40) + 3


@pytest.fixture
def config(mlflow_store: str) -> TrackingConfig:
    return TrackingConfig(uri=mlflow_store, system_metrics=False)


@pytest.fixture
def client(config: TrackingConfig) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(config.uri)


def published(config: TrackingConfig, folder: Path, seed: int, losses: np.ndarray) -> tuple[PublishedModel, Report]:
    """A student of `seed` with these held-out losses, registered and described in a run of its own."""
    student, report = tiny_student(folder / "student", seed), report_of(folder / "report", losses, START)
    made = publish(
        PublishConfig(name="tiny"), student, report, None, StageContext(folder=Folder(str(folder / "p")), seed=0)
    )
    with run(config, ABOUT) as live:
        model = live.log_model(made, report, name="tiny", score=lambda _: losses)
        describe("demo", report, model, live, f"distil run demo --seed {seed}")
    assert live.problems == []
    return model, report


def test_experiment_new_opens_where_training_is_shown_and_says_what_is_in_it(
    config: TrackingConfig, client: mlflow.MlflowClient
) -> None:
    with run(config, ABOUT) as live:
        pass
    tags = client.get_experiment(live.experiment_id).tags
    assert tags[KIND] == "custom_model_development"
    assert "final/kept_top1" in tags[NOTE]


@pytest.mark.parametrize(
    ("kind", "then"),
    [
        (None, "custom_model_development"),
        ("genai_development_inferred", "custom_model_development"),
        ("no_inferred_type", "custom_model_development"),
        ("genai_development", "genai_development"),
    ],
)
def test_experiment_that_was_there_gets_what_it_lacks_and_keeps_what_a_person_chose(
    config: TrackingConfig, client: mlflow.MlflowClient, tmp_path: Path, kind: str | None, then: str
) -> None:
    tags = {NOTE: MINE} | ({KIND: kind} if kind else {})
    number = client.create_experiment(config.experiment, artifact_location=str(tmp_path / "files"), tags=tags)
    published(config, tmp_path, 1, START - 1)
    found = client.get_experiment(number).tags
    assert (found[KIND], found[NOTE]) == (then, MINE)


def test_run_says_its_command_at_once_and_in_the_end_what_was_kept(
    config: TrackingConfig, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    with run(config, ABOUT) as live:
        begun = client.get_run(live.run_id).data.tags[NOTE]
    assert "distil run demo" in begun
    model, report = published(config, tmp_path, 1, START - 1)
    note = client.get_run(model.run_id).data.tags[NOTE]
    assert "| top-1 accuracy | 0.464 | 0.287 | 0.421 | 90.9% |" in note
    assert f"| masked-LM loss | {report.teacher.mlm_loss:.3f} | {report.student_at_init.mlm_loss:.3f} |" in note
    assert "| parameters | 5,400,000 | 3,800,000 | 3,800,000 | 70.4% |" in note
    assert model.verdict in note
    assert "distil run demo --seed 1" in note
    newest = client.get_experiment(live.experiment_id).tags[NOTE]
    assert "| top-1 accuracy | 0.464 |" in newest
    assert (newest.count(OURS), newest.count("\n## ")) == (1, 1)
    with run(config, ABOUT):
        assert client.get_experiment(live.experiment_id).tags[NOTE] == newest, "a run that begins changes nothing"


def test_run_that_goes_on_keeps_what_a_person_wrote_of_it(config: TrackingConfig, client: mlflow.MlflowClient) -> None:
    with run(config, ABOUT) as live:
        client.set_tag(live.run_id, NOTE, MINE)
    with run(config, replace(ABOUT, run_id=live.run_id)) as again:
        again.tell("the description", description=of_run("demo", "distil run demo"))
    assert client.get_run(live.run_id).data.tags[NOTE] == MINE
    assert again.problems == []


def test_model_and_version_say_what_they_are_in_lines_that_run(
    config: TrackingConfig,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    published(config, tmp_path, 1, START - 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(config.uri))
    texts = [client.get_model_version("tiny", "1").description, client.get_registered_model("tiny").description]
    for text, uri in zip(texts, ("models:/tiny/1", "models:/tiny@champion"), strict=True):
        assert "| top-1 accuracy | 0.464 | 0.287 | 0.421 | 90.9% |" in text
        assert "distil run demo --seed 1" in text
        (code,) = re.findall("```python\n(.*?)```", text, re.DOTALL)
        assert uri in code
        assert code.count("\n") == 3
        exec(code, {})
        assert "'token_str'" in capsys.readouterr().out


def test_registered_model_is_described_by_its_champion_unless_a_person_has_written(
    config: TrackingConfig, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    published(config, tmp_path / "1", 1, START - 1)
    published(config, tmp_path / "2", 2, START - 0.5)
    assert "## Version 1, @champion" in client.get_registered_model("tiny").description
    assert "--seed 2" in client.get_model_version("tiny", "2").description
    published(config, tmp_path / "3", 3, START - 1.5)
    assert "## Version 3, @champion" in client.get_registered_model("tiny").description
    client.update_registered_model("tiny", MINE)
    published(config, tmp_path / "4", 4, START - 2)
    assert client.get_registered_model("tiny").description == MINE
    assert "--seed 4" in client.get_model_version("tiny", "4").description


def test_version_that_an_earlier_run_made_keeps_the_command_that_made_it(
    config: TrackingConfig, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    first, report = published(config, tmp_path, 1, START - 1)
    with run(config, ABOUT) as live:
        describe("demo", report, first, live, "distil run demo --workdir elsewhere")
    assert "--seed 1" in client.get_model_version("tiny", "1").description
    assert "--workdir elsewhere" in client.get_run(live.run_id).data.tags[NOTE]


def test_causal_model_is_shown_as_what_continues_a_text_in_lines_that_run(
    config: TrackingConfig,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokenizer = tokenizer_for("gpt2", ["The shape of a tensor is a tuple"] * 9)
    for part in (tokenizer, tiny_model("gpt2", vocab_size=len(tokenizer), n_positions=64)):
        part.save_pretrained(tmp_path / "gpt2")
    model = Published(folder=Folder(str(tmp_path / "gpt2")), weights_digest="w", vocabulary_digest="v")
    report = replace(report_of(tmp_path / "report", START - 1, START), objective="causal")
    with run(config, ABOUT) as live:
        registered = live.log_model(model, report, name="tiny", score=lambda _: START)
        describe("demo", report, registered, live, "distil run demo")
    text = client.get_model_version("tiny", "1").description
    assert "| next-token loss |" in text
    (code,) = re.findall("```python\n(.*?)```", text, re.DOTALL)
    assert code.count("\n") == 3
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(config.uri))
    exec(code, {})
    assert "The shape of a tensor" in capsys.readouterr().out


def made(stage: str, artifact: Any, folder: Path) -> StageResult[Any]:
    return StageResult(
        stage=stage, fingerprint="f", folder=Folder(str(folder)), reused=False, why=(), seconds=1.0, recorded=artifact
    )


def test_final_figures_are_there_once_also_after_a_restart(
    config: TrackingConfig, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    report = report_of(tmp_path / "report", START - 1, START)
    products = Products(
        corpus=made("corpus", corpus_in(tmp_path), tmp_path),
        teacher=made("teacher", None, tmp_path),
        report=made("evaluate", report, tmp_path),
    )
    recorded = replace(recipe("demo"), until="evaluate")
    before: LiveRun | None = None
    for _ in range(2):
        with run(config, replace(ABOUT, run_id=before.run_id if before else None)) as live:
            log_final(recorded, products, live)
        before = live
    expected = {"kept_top1": 0.9088, "size_ratio": 0.7037, "speedup": 1.909}
    expected |= {"heldout_mlm_loss": report.student.mlm_loss, "heldout_top1": report.student.top1}
    for name, value in expected.items():
        (only,) = client.get_metric_history(live.run_id, f"final/{name}")
        assert (only.step, only.value) == (0, pytest.approx(value))
    assert set(FINAL.values()) < {f"final/{name}" for name in expected}
    assert "| top-1 accuracy |" in client.get_run(live.run_id).data.tags[NOTE]


def test_final_figures_of_a_run_that_ends_with_distilling_are_of_its_last_evaluation(
    config: TrackingConfig, client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    student = tiny_student(tmp_path / "student")
    model = model_in(tmp_path / "student")
    measured = ({"step": 10.0, "heldout_mlm_loss": 3.0, "heldout_top1": 0.2}, {"step": 12.0, "loss": 9.0})
    tensors = snapshot.copied(model, adamw(model, learning_rate=1e-3, weight_decay=0.0))
    checkpoint.save(
        Folder(str(tmp_path / "checkpoints")), TrainState(step=12, history=measured), model, tensors, student.folder
    )
    products = Products(
        corpus=made("corpus", corpus_in(tmp_path), tmp_path),
        teacher=made("teacher", None, tmp_path),
        student=made("distil", student, tmp_path),
    )
    with run(config, ABOUT) as live:
        log_final(replace(recipe("demo"), until="distil"), products, live)
    found = client.get_run(live.run_id).data.metrics
    assert found == {"final/heldout_mlm_loss": 3.0, "final/heldout_top1": 0.2}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/x/.venv/bin/distil", "run", "demo", "--seed", "7"], "distil run demo --seed 7"),
        (["/x/pipeline/cli/main.py", "tune", "demo"], "distil tune demo"),
        (
            ["/bin/distil", "run", "demo", "--corpus.paths", "my texts/*.txt"],
            "distil run demo --corpus.paths 'my texts/*.txt'",
        ),
        (["/bin/distil", "run", "x", "--storage", "s3://me:hidden@b/x"], "distil run x --storage 's3://***@b/x'"),
        (["/bin/pytest", "-q"], "instead"),
        ([], "instead"),
    ],
)
def test_command_line_can_be_given_again_and_holds_no_secret(argv: list[str], shown: str) -> None:
    assert command_line(argv, "instead") == shown


def test_command_of_a_thousand_files_still_fits_on_a_page() -> None:
    text = of_run("demo", "distil run demo --corpus.paths " + " ".join(f"text-{i}.txt" for i in range(1000)))
    assert len(text) < 5000
    assert " …" in text
