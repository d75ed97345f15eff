"""The whole pipeline on a tiny model: one run from end to end, run again, and run with a changed field."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console as Terminal
from tiny_pipeline import tiny_pipeline
from transformers import AutoModelForMaskedLM, AutoTokenizer

from pipeline import recipes
from pipeline.cli.console import Console
from pipeline.cli.fill import filled
from pipeline.config.schema import PipelineConfig, from_yaml, to_yaml
from pipeline.html_report.draw import draw
from pipeline.records.products import Products
from pipeline.records.report import read_report
from pipeline.records.workdir import begin_run
from pipeline.run import describe, run
from pipeline.runtime.lock import alone
from pipeline.tune import tune
from stages.errors import ConfigError, InputError
from stages.tokens.config import TokensConfig


@dataclass(frozen=True)
class Ran:
    """A finished run and what it printed."""

    config: PipelineConfig
    products: Products
    printed: str


def console(file: Path) -> Console:
    return Console(Terminal(file=file.open("w"), width=200))


@pytest.fixture(scope="module")
def tiny_config(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> PipelineConfig:
    return tiny_pipeline(tmp_path_factory.mktemp("run"), mlflow_template)


@pytest.fixture(scope="module")
def ran(tiny_config: PipelineConfig, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    file = tmp_path_factory.mktemp("printed") / "out.txt"
    return Ran(tiny_config, run(tiny_config, console(file)), file.read_text())


def test_run_report_agrees_with_the_models_it_speaks_of(ran: Ran) -> None:
    report = json.loads((Path(ran.config.workdir) / "report.json").read_text())
    student = AutoModelForMaskedLM.from_pretrained(Path(ran.config.workdir) / report["folders"]["student"])
    teacher = AutoModelForMaskedLM.from_pretrained(Path(ran.config.workdir) / report["folders"]["teacher"])
    sizes = [sum(p.numel() for p in model.parameters()) for model in (student, teacher)]
    assert [report["student"]["parameters"], report["teacher"]["parameters"]] == sizes
    assert report["size_ratio"] == pytest.approx(sizes[0] / sizes[1])
    assert report["teacher"]["top1"] > 0.1
    assert report["kept_top1"] == pytest.approx(report["student"]["top1"] / report["teacher"]["top1"])
    assert report["student"]["mlm_loss"] < report["student_at_init"]["mlm_loss"]
    assert report["tokens"] == 20 * 32 * 16
    assert report["peak_memory_mb"] > 100
    assert set(report["seconds"]) == {"corpus", "teacher", "tokens", "distil", "evaluate", "publish"}


def test_run_is_recorded_in_mlflow_and_its_candidate_fills_masks(ran: Ran) -> None:
    import mlflow

    mlflow.set_tracking_uri(ran.config.tracking.uri)
    report = json.loads((Path(ran.config.workdir) / "report.json").read_text())
    found = mlflow.MlflowClient().get_run(report["mlflow_run_id"])
    assert found.info.status == "FINISHED"
    assert found.data.params["distil.temperature"] == "2.0"
    assert found.data.tags["dataset_digest"] == ran.products.corpus.artifact.digest
    for name in ("loss", "loss_ce", "loss_mlm", "loss_cos", "learning_rate", "grad_norm", "tokens_per_second"):
        steps = [m.step for m in mlflow.MlflowClient().get_metric_history(report["mlflow_run_id"], name)]
        assert steps == [5, 10, 15, 20], name
    assert "heldout_mlm_loss" in found.data.metrics
    loaded = mlflow.transformers.load_model(f"models:/{ran.config.publish.name}@candidate", return_type="components")
    assert loaded["tokenizer"].mask_token == "[MASK]"
    assert sum(p.numel() for p in loaded["model"].parameters()) == report["student"]["parameters"]


def test_run_tells_a_person_and_mlflow_how_much_is_unknown_refused_and_left_over(ran: Ran, tmp_path: Path) -> None:
    import mlflow

    assert ran.products.blocks is not None
    blocks = ran.products.blocks.artifact
    assert blocks.tail_tokens > 0
    line = f"0 blocks refused, {blocks.tail_tokens:,} tokens left over"
    run_id = json.loads((Path(ran.config.workdir) / "report.json").read_text())["mlflow_run_id"]
    found = mlflow.MlflowClient(ran.config.tracking.uri).get_run(run_id).data.metrics
    names = ("unknown_rate", "refused_blocks", "tail_tokens")
    assert [found[f"tokens/{name}"] for name in names] == [0, 0, blocks.tail_tokens]
    assert line in ran.printed
    run(ran.config, console(tmp_path / "out.txt"))
    assert line in (tmp_path / "out.txt").read_text(), "of a finished run too"


def test_run_leaves_a_page_of_its_report_in_the_workdir_and_in_mlflow(ran: Ran, tmp_path: Path) -> None:
    import mlflow

    html = (Path(ran.config.workdir) / "report.html").read_text()
    report = json.loads((Path(ran.config.workdir) / "report.json").read_text())
    client = mlflow.MlflowClient(ran.config.tracking.uri)
    assert Path(client.download_artifacts(report["mlflow_run_id"], "report.html", str(tmp_path))).read_text() == html
    for figure in (f"{report['kept_top1']:.1%}", f"{report['student']['mlm_loss']:.3f}", report["verdict"]):
        assert figure in html
    for title in (
        "T² · KL(teacher ‖ student)",
        "1 − cosine",
        "norm of the gradient",
        "share of equal first guesses",
    ):
        assert title in html
    assert f"{ran.products.corpus.artifact.documents:,} to learn from" in html
    assert "report.html" in ran.printed


def test_page_that_cannot_be_drawn_is_said_and_costs_the_run_nothing(ran: Ran, tmp_path: Path) -> None:
    report = read_report(Path(ran.config.workdir))
    assert report is not None
    said: list[str] = []
    live: Any = None  # of which nothing is asked before the page is there
    draw(ran.config, ran.products, report, tmp_path / "gone", live, said.append)
    (sentence,) = said
    assert "report.html could not be drawn (FileNotFoundError" in sentence


def test_run_again_reuses_everything_and_registers_nothing_new(ran: Ran, tmp_path: Path) -> None:
    import mlflow

    files = [Path(ran.config.workdir) / name for name in ("report.json", "report.html")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    again = run(ran.config, console(tmp_path / "out.txt"))
    assert all(made.reused for made in again.all())
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    client = mlflow.MlflowClient(ran.config.tracking.uri)
    assert len(client.search_model_versions(f"name = '{ran.config.publish.name}'")) == 1
    assert "kept" in (tmp_path / "out.txt").read_text()


def test_describe_changed_temperature_names_it_and_only_what_follows(ran: Ran, tmp_path: Path) -> None:
    changed = replace(ran.config, distil=replace(ran.config.distil, temperature=3.0))
    plan = describe(changed, console(tmp_path / "out.txt"))
    assert [made.stage for made in plan.all() if not made.reused] == ["distil", "evaluate", "publish"]
    assert plan.student is not None
    assert plan.student.why == ("distil.temperature 2.0 → 3.0",)


def test_resolved_config_of_a_run_is_the_config_it_ran_with(ran: Ran) -> None:
    file = Path(ran.config.workdir) / "config.yaml"
    assert from_yaml(file.read_text(), "config.yaml") == ran.config


def test_fill_gives_the_model_s_own_five_best(ran: Ran) -> None:
    assert ran.products.published is not None
    folder = ran.products.published.artifact.folder
    model, words = (kind.from_pretrained(folder.path) for kind in (AutoModelForMaskedLM, AutoTokenizer))
    batch = words("w1 w2 [MASK] w4", return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        best = model.eval()(**batch).logits[0, 3].softmax(-1).topk(5)
    found = filled(folder, "w1 w2 [MASK] w4").guesses[0]
    assert [guess.token for guess in found] == [words.decode([i]) for i in best.indices]
    assert [guess.probability for guess in found] == pytest.approx(best.values.tolist())
    with pytest.raises(InputError, match=r"has no \[MASK\]"):
        filled(folder, "w1 w2")


def test_run_bad_input_is_refused_before_anything_is_written(tiny_config: PipelineConfig, tmp_path: Path) -> None:
    fresh = replace(tiny_config, workdir=str(tmp_path / "new"))
    bad = {
        "tokens.block_length": replace(fresh, tokens=TokensConfig(block_length=512)),
        "distil.layers": replace(fresh, distil=replace(fresh.distil, layers=3)),
        "distil.gpu": replace(fresh, distil=replace(fresh.distil, gpu=True)),
        "workers cannot share": replace(fresh, distil=replace(fresh.distil, workers=33)),
    }
    for words, config in bad.items():
        with pytest.raises(InputError, match=words):
            run(config, console(tmp_path / "out.txt"))
    assert not [path for path in (tmp_path / "new").iterdir() if path.is_dir()]


def test_run_fewer_blocks_than_a_batch_is_refused_with_both_numbers(ran: Ran, tmp_path: Path) -> None:
    greedy = replace(ran.config, distil=replace(ran.config.distil, global_batch=100_000, workers=1))
    with pytest.raises(InputError, match=r"blocks but distil.global_batch is 100,000"):
        run(greedy, console(tmp_path / "out.txt"))


def test_recipes_all_resolve_and_round_trip() -> None:
    from pipeline.config.schema import to_yaml

    for name in recipes.NAMES:
        config = recipes.recipe(name)
        assert config.name == name
        assert from_yaml(to_yaml(config), name) == config
    with pytest.raises(ConfigError, match="must not all be 0"):
        replace(recipes.demo().distil, alpha_ce=0, alpha_mlm=0, alpha_cos=0)


def test_run_in_a_workdir_that_is_in_use_is_refused_and_describe_is_not(ran: Ran, tmp_path: Path) -> None:
    workdir = Path(ran.config.workdir)
    with alone(workdir, ran.config.root, pytest.fail):
        with pytest.raises(InputError, match=r"work is in use by .* since "):
            run(ran.config, console(tmp_path / "out.txt"))
        with pytest.raises(InputError, match=r"work is in use by .* since "):
            tune(ran.config, console(tmp_path / "out.txt"))
        describe(ran.config, console(tmp_path / "out.txt"))


def test_run_whose_driver_died_before_mlflow_had_it_all_delivers_the_rest_into_the_same_run(
    ran: Ran, tmp_path: Path
) -> None:
    """As if it had been killed right after the last stage: the last metrics, the status and run.json's end are gone."""
    import mlflow

    store, workdir = Path(str(ran.config.tracking.uri).removeprefix("sqlite:///")), Path(ran.config.workdir)
    client = mlflow.MlflowClient(ran.config.tracking.uri)
    run_id = json.loads((workdir / "report.json").read_text())["mlflow_run_id"]
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith(("final/", "system/"))]
    before = {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in names}
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND step > 10", [run_id])
        database.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE run_uuid = ?", [run_id])
    (workdir / "config.yaml").write_text(to_yaml(ran.config))  # another test's may lie there
    begin_run(workdir, config="config.yaml", mlflow_run_id=run_id)

    again = run(ran.config, console(tmp_path / "out.txt"))
    assert all(made.reused for made in again.all())
    assert {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in names} == before
    assert client.get_run(run_id).info.status == "FINISHED"
    assert before["loss"][-1][0] == 20
    ended = json.loads((workdir / "run.json").read_text())
    assert (ended["mlflow_run_ids"][-1], ended["finished"] is None) == (run_id, False)
    assert len(client.search_model_versions(f"name = '{ran.config.publish.name}'")) == 1
