"""An ablation from end to end on a tiny model: what is trained, compared, recorded and told, and that it goes on."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console as Terminal
from safetensors.torch import load_file
from tiny_pipeline import tiny_pipeline

from pipeline.ablate import ablate
from pipeline.ablation.config import AblationConfig
from pipeline.ablation.result import FILE, Ablation
from pipeline.ablation.table import sentences
from pipeline.cli.console import Console
from pipeline.config.schema import PipelineConfig
from pipeline.config.serialisation import to_plain
from pipeline.records.reuse import Reuse, Silent
from pipeline.run import graph, prepared
from stages.errors import InputError
from stages.evaluation.heldout import heldout, score_all
from stages.models import load_model
from stages.storage import Folder

pytestmark = pytest.mark.timeout(900)  # six trainings, each of several processes: a minute on two idle cores
ASKED = AblationConfig(seeds=2, only=("random", "packing", "layers-alternate"))
STEPS = 10


@dataclass(frozen=True)
class Ablated:
    """A finished ablation and what it printed."""

    config: PipelineConfig
    ablation: Ablation
    printed: str

    def row(self, name: str) -> Any:
        return next(row for row in self.ablation.rows if row.name == name)


def console(file: Path) -> Console:
    return Console(Terminal(file=file.open("w"), width=200))


def client(config: PipelineConfig) -> Any:
    from pipeline.tracking.run import quiet_mlflow

    return quiet_mlflow().MlflowClient(config.tracking.uri)


def children(config: PipelineConfig, run_id: str) -> dict[tuple[str, str], Any]:
    mlflow = client(config)
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    found = mlflow.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert len({(run.data.tags["variant"], run.data.tags["seed"]) for run in found}) == len(found)
    return {(run.data.tags["variant"], run.data.tags["seed"]): run for run in found}


def plan(config: PipelineConfig, seed: int) -> Reuse:
    return Reuse(root=config.root, seed=seed, watch=Silent(), plan=True)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> PipelineConfig:
    made = tiny_pipeline(tmp_path_factory.mktemp("ablate"), mlflow_template)
    distil = replace(made.distil, steps=STEPS, log_every=5, evaluate_every=5, checkpoint_every=5)
    return replace(made, seed=1, distil=distil)


@pytest.fixture(scope="module")
def ablated(config: PipelineConfig, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Ablated:
    file = tmp_path_factory.mktemp("printed") / "out.txt"
    return Ablated(config, ablate(config, ASKED, console(file)), file.read_text())


def test_ablate_trains_the_recipe_and_what_applies_on_its_seed_and_the_next(ablated: Ablated) -> None:
    found = ablated.ablation
    assert found.seeds == (1, 2)
    assert [row.name for row in found.rows] == ["recipe", "random", "packing"]
    assert [(one.name, one.why) for one in found.left_out] == [
        ("layers-alternate", "these are the recipe's own blocks")
    ]
    assert [row.changes for row in found.rows] == [
        {},
        {"distil.start": "random"},
        {"tokens.packing": "documents"},
    ]
    assert all(len(row.losses) == len(row.top1) == 2 for row in found.rows)
    assert ablated.row("random").difference.mean > 0.1, "a student that starts from nothing knows less"
    for line in sentences(found):
        assert line in ablated.printed


def test_ablate_counts_a_run_of_the_recipe_as_its_own_training(ablated: Ablated) -> None:
    for place, seed in enumerate(ablated.ablation.seeds):
        made = graph(plan(ablated.config, seed), replace(ablated.config, seed=seed, until="evaluate"))
        assert made.student is not None
        assert made.report is not None
        assert made.student.reused
        assert made.report.artifact.student.mlm_loss == ablated.ablation.rows[0].losses[place]


def students(config: PipelineConfig) -> dict[tuple[str, int], Any]:
    """(what it is, seed) to the record of a training that is in the workdir."""
    blocks, found = prepared(plan(config, config.seed), config).blocks, {}
    assert blocks is not None
    for file in (config.root / "distil").path.glob("*/record.json"):
        record = json.loads(file.read_text())
        told = record["identity"]
        own = told["inputs"]["tokens"] == blocks.fingerprint
        what = told["config"].get("start") or ("recipe" if own else "packing")
        found[what, told["seed"]] = record | {"folder": file.parent}
    return found


def test_ablate_scores_every_student_on_the_recipe_s_own_held_out_blocks(ablated: Ablated) -> None:
    """The difference by a plain loop over students loaded anew, that of the other packing included."""
    blocks = prepared(plan(ablated.config, 1), ablated.config).blocks
    assert blocks is not None
    held = heldout(blocks.artifact, most=20, micro_batch=20, device=torch.device("cpu"))
    found = students(ablated.config)
    assert len(found) == 6
    for row in ablated.ablation.rows[1:]:
        apart = []
        for seed in (1, 2):
            losses = []
            for name in (row.name, "recipe"):
                folder = Folder(str(found[name, seed]["folder"] / "student"))
                model = load_model(folder, torch.float32, torch.device("cpu")).eval()
                losses.append(score_all(model, held)[0].mlm_loss.numpy())
            apart.append(losses[0] - losses[1])
        assert row.difference.mean == pytest.approx(float(np.mean(apart)), abs=1e-5)
        assert row.difference.low < row.difference.mean < row.difference.high


def test_ablate_gives_each_student_as_many_tokens(ablated: Ablated) -> None:
    recipe, packing = ablated.row("recipe").tokens, ablated.row("packing").tokens
    assert recipe == STEPS * 32 * 16 == ablated.row("random").tokens
    steps = {what: record["artifact"]["steps"] for (what, _), record in students(ablated.config).items()}
    assert steps["recipe"] == steps["random"] == STEPS
    assert abs(packing - recipe) <= packing / steps["packing"]  # a step at most
    assert steps["packing"] >= STEPS


def test_ablate_starts_a_random_student_from_other_weights_by_seed(ablated: Ablated) -> None:
    found = students(ablated.config)
    starts = {key: load_file(one["folder"] / "start" / "model.safetensors") for key, one in found.items()}
    name = "distilbert.embeddings.word_embeddings.weight"
    assert torch.equal(starts["recipe", 1][name], starts["recipe", 2][name])
    assert not torch.equal(starts["random", 1][name], starts["random", 2][name])


def test_ablate_in_mlflow_is_a_parent_with_a_child_a_training(ablated: Ablated) -> None:
    parent = client(ablated.config).get_run(ablated.ablation.mlflow_run_id)
    assert parent.info.status == "FINISHED"
    metrics = parent.data.metrics
    assert metrics["final/random/difference"] == ablated.row("random").difference.mean
    assert "differs" in parent.data.tags["mlflow.note.content"]
    files = {file.path for file in client(ablated.config).list_artifacts(parent.info.run_id)}
    assert {"config.yaml", FILE, "plots"} <= files
    plots = {file.path for file in client(ablated.config).list_artifacts(parent.info.run_id, "plots")}
    assert "plots/ablation.png" in plots
    below = children(ablated.config, parent.info.run_id)
    assert set(below) == {(row.name, seed) for row in ablated.ablation.rows for seed in ("1", "2")}
    for row in ablated.ablation.rows:
        for place, seed in enumerate(("1", "2")):
            run = below[row.name, seed]
            assert run.info.status == "FINISHED"
            assert run.data.metrics["final/heldout_mlm_loss"] == row.losses[place]
            assert {name: run.data.params[name] for name in row.changes} == {k: str(v) for k, v in row.changes.items()}
            steps = [metric.step for metric in client(ablated.config).get_metric_history(run.info.run_id, "loss")]
            assert steps[:2] == [5, 10]
            assert steps == sorted(set(steps))


def test_ablate_leaves_its_rows_in_the_workdir(ablated: Ablated) -> None:
    assert json.loads((Path(ablated.config.workdir) / FILE).read_text()) == to_plain(ablated.ablation)


def test_ablate_again_shows_what_is_recorded_and_runs_nothing(ablated: Ablated, tmp_path: Path) -> None:
    assert ablate(ablated.config, ASKED, console(tmp_path / "out.txt")) == ablated.ablation
    printed = (tmp_path / "out.txt").read_text()
    assert "all 6 trainings are recorded" in printed
    assert all(line in printed for line in sentences(ablated.ablation))


def test_ablate_that_was_killed_goes_on_under_its_run_and_trains_what_is_missing(
    ablated: Ablated, tmp_path: Path
) -> None:
    """As SIGKILL would leave it: a training half way, no end in MLflow, and its child running."""
    config, run_id = ablated.config, ablated.ablation.mlflow_run_id
    (begun,) = (config.root / "ablation").path.glob("*/begun.json")
    begun.write_text(json.dumps(json.loads(begun.read_text()) | {"ended": False}))
    lost = students(config)["random", 2]["folder"]
    (lost / "record.json").unlink()
    (last,) = (lost / "checkpoints").glob("step-*10")
    (last / "manifest.json").unlink()
    mlflow = client(config)
    before = children(config, run_id)
    for run in (run_id, before["random", "2"].info.run_id):
        mlflow.update_run(run, status="RUNNING")

    found = ablate(config, ASKED, console(tmp_path / "out.txt"))

    assert found == ablated.ablation
    after = children(config, run_id)
    assert {key: run.info.run_id for key, run in after.items()} == {k: run.info.run_id for k, run in before.items()}
    assert after["random", "2"].info.status == mlflow.get_run(run_id).info.status == "FINISHED"
    steps = [metric.step for metric in mlflow.get_metric_history(after["random", "2"].info.run_id, "loss")]
    assert steps == sorted(set(steps))
    lines = (tmp_path / "out.txt").read_text().splitlines()
    trained = [line.split(": distil")[0] for line in lines if line.startswith("✓") and ": distil" in line]
    assert trained == ["✓ random, seed 2"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"only": ("layers-alternate",)}, r"nothing is left to compare .*layers-alternate: these are the recipe's own"),
        ({"tokens": 100}, r"--tokens is 100 but an optimiser step has up to 512"),
    ],
)
def test_ablate_bad_input_is_refused_before_anything_is_made(
    config: PipelineConfig, tmp_path: Path, asked: dict[str, Any], sentence: str
) -> None:
    fresh = replace(config, workdir=str(tmp_path / "new"))
    with pytest.raises(InputError, match=sentence):
        ablate(fresh, AblationConfig(**asked), console(tmp_path / "out.txt"))
    assert not [path for path in (tmp_path / "new").iterdir() if path.is_dir()]
