"""A search from end to end on a tiny model: what it tries, confirms and records, and that it goes on where it was."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console as Terminal
from tiny_pipeline import tiny_pipeline

from pipeline.cli.console import Console
from pipeline.config.schema import PipelineConfig, from_yaml, override
from pipeline.records.reuse import Reuse, Silent
from pipeline.records.workdir import CONFIG
from pipeline.run import describe, graph, prepared
from pipeline.run import run as run_pipeline
from pipeline.tune import tune
from pipeline.tuning.config import PAPER, Dimension, TuneConfig
from pipeline.tuning.confirming.paired_test import can_win
from pipeline.tuning.ledger import Ledger, Trial
from pipeline.tuning.tracking.which_search import STARTED, adopt, find_search
from pipeline.tuning.trial import Unwatched
from pipeline.tuning.verdict import Confirmed, Search
from stages.distil.stage import distil
from stages.errors import ConfigError
from stages.evaluation.heldout import halves, heldout, score_all
from stages.models import load_model
from stages.storage import Folder

pytestmark = pytest.mark.timeout(600)  # a dozen trainings, each of several processes: a minute on two idle cores
RIGGED = Dimension(field="learning_rate", choices=("0.002", "1e30"))
"""With seed 1 the last of the three trials, and no other, draws the learning rate that no loss survives."""
STEPS, EVERY = 20, 2
"""Of a whole trial: a quarter of 80 steps; and between its reports."""


@dataclass(frozen=True)
class Searched:
    """A finished search and what it printed."""

    config: PipelineConfig
    search: Search
    printed: str

    @property
    def ledgers(self) -> tuple[Ledger, Ledger]:
        """(trials, confirmations)."""
        return Ledger(self.search.folder / "trials"), Ledger(self.search.folder / "confirmations")


def console(file: Path) -> Console:
    return Console(Terminal(file=file.open("w"), width=200))


def client(config: PipelineConfig) -> Any:
    from pipeline.tracking.run import quiet_mlflow

    return quiet_mlflow().MlflowClient(config.tracking.uri)


def children(config: PipelineConfig, run_id: str) -> list[Any]:
    """The runs right below a run in MLflow, by trial."""
    mlflow = client(config)
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    found = mlflow.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{run_id}'")
    return sorted(found, key=lambda run: int(run.data.tags["trial"]))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> PipelineConfig:
    made = tiny_pipeline(tmp_path_factory.mktemp("tune"), mlflow_template)
    tune = TuneConfig(trials=3, also=(RIGGED,), evaluate_blocks=20, max_concurrent=2, confirm_seeds=3)
    return replace(made, seed=1, distil=replace(made.distil, steps=4 * STEPS), tune=tune)


@pytest.fixture(scope="module")
def searched(config: PipelineConfig, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    file = tmp_path_factory.mktemp("printed") / "out.txt"
    return Searched(config, tune(config, console(file)), file.read_text())


def test_tune_tries_the_paper_s_setting_first_and_goes_on_after_a_trial_that_diverged(searched: Searched) -> None:
    trials = searched.ledgers[0].trials
    assert trials[0].setting == {**PAPER, "learning_rate": "0.002"}
    assert trials[0].state == "completed"
    failed = [trial for trial in trials if trial.setting["learning_rate"] == "1e30"]
    assert [trial.state for trial in failed] == ["failed"]
    assert failed[0].why.startswith("FloatingPointError: ")
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert (searched.search.trials, searched.search.failed) == (3, 1)
    for trial in trials:
        steps = [report.step for report in trial.reports]
        assert steps == list(range(EVERY, EVERY * len(steps) + 1, EVERY))
        assert [report.tokens for report in trial.reports] == [step * 32 * 16 for step in steps]
        if trial.state != "failed":
            assert len(steps) == {"completed": 10, "stopped early": len(steps)}[trial.state]
            assert steps[-1] == STEPS if trial.state == "completed" else steps[-1] in (2, 8)


def test_tune_confirms_on_fresh_seeds_in_pairs_and_says_what_the_figures_say(searched: Searched) -> None:
    search, runs = searched.search, searched.ledgers[1].trials
    assert searched.config.seed not in search.seeds
    assert len(set(search.seeds)) == searched.config.tune.confirm_seeds
    assert search.confirmed[0].trial == 0
    assert search.candidates == len(search.confirmed) - 1 == 1
    assert [(run.confirms, run.seed) for run in runs] == [
        (one.trial, seed) for seed in search.seeds for one in search.confirmed
    ][: len(runs)]
    assert [one.values for one in race_over(search, runs)] == [one.values for one in search.confirmed]
    for run in runs:
        assert (run.state, run.reports[-1].step) == ("completed", STEPS)
        one = next(one for one in search.confirmed if one.trial == run.confirms)
        assert one.values[search.seeds.index(run.seed)] == run.reports[-1].metrics["heldout_mlm_loss"]
        assert run.setting == searched.ledgers[0][one.trial].setting
    assert search.tokens_spent == sum(trial.tokens for trial in searched.ledgers[0].trials)
    assert search.confirm_tokens == len(runs) * STEPS * 32 * 16
    assert search.full_budget_tokens == STEPS * 32 * 16
    assert search.verdict.paper == search.confirmed[0]
    assert f"--from-search {search.mlflow_run_id}" in searched.printed
    assert (
        "with tune.confirm_seeds 3 a gain of twice what its differences spread is found in 47% of" in searched.printed
    )
    assert ("is better than the paper's" in searched.printed) == search.verdict.is_better


def race_over(search: Search, runs: list[Trial]) -> list[Confirmed]:
    """What `runs` came to, if nobody was run after it could not win any more and everybody before."""
    values = {one.trial: [run.reports[-1].metrics[search.objective] for run in runs if run.confirms == one.trial]
              for one in search.confirmed}  # fmt: skip
    for one in search.confirmed[1:]:
        for number in range(2, len(search.seeds)):
            gains = np.subtract(values[0][:number], values[one.trial][:number])
            goes_on = bool(can_win(gains, seeds=len(search.seeds), candidates=search.candidates))
            assert (len(values[one.trial]) > number) == (goes_on and len(values[one.trial]) >= number)
    return [replace(one, values=tuple(values[one.trial])) for one in search.confirmed]


@pytest.mark.parametrize("which", [0, 1], ids=["a trial", "a confirming run"])
def test_tune_scores_its_trials_on_one_half_of_the_held_out_text_and_confirms_on_the_other(
    searched: Searched, which: int, tmp_path: Path
) -> None:
    """The same training again, without a search, and its student scored on either half."""
    config, one = searched.config, searched.ledgers[which].trials[0]
    step = Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)
    ready = prepared(step, config)
    assert ready.blocks is not None
    again = replace(step, root=Folder(str(tmp_path)), seed=one.seed, plan=False, watch=Unwatched())
    told = [(f"distil.{name}", str(value)) for name, value in one.setting.items()]
    student = again(distil, replace(override(config, told).distil, steps=STEPS), ready.teacher, ready.blocks).artifact
    model = load_model(student.folder, torch.float32, torch.device("cpu")).eval()
    losses = [
        float(score_all(model, heldout(half, most=20, micro_batch=20, device=torch.device("cpu")))[0].mlm_loss.mean())
        for half in halves(ready.blocks.artifact)
    ]
    found = one.reports[-1].metrics["heldout_mlm_loss"]
    assert losses[which] == pytest.approx(found, abs=2e-4)
    assert losses[1 - which] != pytest.approx(found, abs=2e-3)


def test_tune_in_mlflow_is_a_parent_with_a_child_a_trial_and_the_confirmations_below_them(searched: Searched) -> None:
    config, search = searched.config, searched.search
    parent = client(config).get_run(search.mlflow_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params["best.temperature"] == str(search.verdict.winner.setting["temperature"])
    assert parent.data.tags["objective"] == "heldout_mlm_loss"
    files = {file.path for file in client(config).list_artifacts(search.mlflow_run_id)}
    assert {"config.yaml", "search.json", "trials.json", "trials.csv", "plots"} <= files
    below = children(config, search.mlflow_run_id)
    trials = searched.ledgers[0].trials
    assert [run.info.run_id for run in below] == [trial.run_id for trial in trials]
    for run, trial in zip(below, trials, strict=True):
        assert run.data.tags["state"] == trial.state
        assert run.info.status == ("FAILED" if trial.state == "failed" else "FINISHED")
        assert run.data.params["distil.temperature"] == str(trial.setting["temperature"])
        history = client(config).get_metric_history(run.info.run_id, "heldout_kl")
        assert [(m.step, m.value) for m in history] == [(r.step, r.metrics["heldout_kl"]) for r in trial.reports]
    confirmed = [run for one in below for run in children(config, one.info.run_id)]
    assert {run.info.run_id for run in confirmed} == {run.run_id for run in searched.ledgers[1].trials}


def test_tune_leaves_no_checkpoints_behind(searched: Searched) -> None:
    assert not (searched.search.folder / "work").exists()
    assert not list(searched.search.folder.path.rglob("*.safetensors"))


def test_tune_again_shows_what_is_recorded_and_runs_nothing(searched: Searched, tmp_path: Path) -> None:
    assert tune(searched.config, console(tmp_path / "out.txt")) == searched.search
    printed = (tmp_path / "out.txt").read_text()
    assert "reused" in printed
    assert f"--from-search {searched.search.mlflow_run_id}" in printed


def test_tune_killed_between_its_record_and_mlflow_s_end_is_ended_there_and_runs_nothing(
    searched: Searched, tmp_path: Path
) -> None:
    folder, mlflow = searched.search.folder, client(searched.config)
    started = json.loads(folder.read_bytes(STARTED))
    assert started["ended"] is True
    folder.write_bytes(STARTED, json.dumps(started | {"ended": False}).encode())
    mlflow.update_run(searched.search.mlflow_run_id, status="RUNNING")
    before = (folder / "trials").names(), len(children(searched.config, searched.search.mlflow_run_id))
    assert tune(searched.config, console(tmp_path / "out.txt")) == searched.search
    assert mlflow.get_run(searched.search.mlflow_run_id).info.status == "FINISHED"
    assert json.loads(folder.read_bytes(STARTED))["ended"] is True
    assert before == ((folder / "trials").names(), len(children(searched.config, searched.search.mlflow_run_id)))


def test_tune_that_was_killed_goes_on_with_what_is_missing_and_starts_nothing_twice(
    searched: Searched, tmp_path: Path
) -> None:
    """As SIGKILL would leave it: no record, a trial half way, one that was to end, one confirmation never begun."""
    folder = searched.search.folder.path
    runs_before = [trial.run_id for ledger in searched.ledgers for trial in ledger.trials]
    (folder / "record.json").unlink()
    shutil.copytree(folder, tmp_path / "kept")
    again = searched.ledgers[0].trials[1]
    cut = json.loads((folder / "trials" / "0001.json").read_text()) | {"state": "running"}
    (folder / "trials" / "0001.json").write_text(json.dumps(cut | {"reports": cut["reports"][:1]}))
    last = searched.ledgers[1].trials[-1]
    (folder / "confirmations" / f"{last.number:04d}.json").unlink()

    found = tune(searched.config, console(tmp_path / "out.txt"))

    trials, runs = (Ledger(found.folder / name) for name in ("trials", "confirmations"))
    assert [t.run_id for ledger in (trials, runs) for t in ledger.trials] == runs_before
    kept = Ledger(Folder(str(tmp_path / "kept" / "trials")))
    assert [trials[number] for number in (0, 2)] == [kept[number] for number in (0, 2)]
    assert trials[1].setting == again.setting
    assert trials[1].is_over
    assert runs.trials[-1].reports[-1].metrics["loss"] == last.reports[-1].metrics["loss"]  # the same training
    assert found.mlflow_run_id == searched.search.mlflow_run_id
    assert client(searched.config).get_run(found.mlflow_run_id).info.status == "FINISHED"
    assert len(children(searched.config, found.mlflow_run_id)) == 3
    for trial in [*trials.trials, *runs.trials]:
        steps = [m.step for m in client(searched.config).get_metric_history(trial.run_id, "loss")]
        assert steps == sorted(set(steps))


def test_run_from_the_search_has_its_setting_and_says_where_it_is_from(searched: Searched, tmp_path: Path) -> None:
    """Recorded before it trains, so it need not; a run that trains has that setting in its stage `distil`."""
    config = searched.config
    search = find_search(config.workdir)
    adopted = override(adopt(config, search), [("distil.steps", "4"), ("distil.learning_rate", "0.002")])
    assert adopted.distil.temperature == search.verdict.winner.setting["temperature"]
    student = describe(adopted, console(tmp_path / "plan.txt")).student
    mine = graph(
        Reuse(root=adopted.root, seed=adopted.seed, watch=Silent(), plan=True),
        override(
            config,
            [(f"distil.{name}", str(value)) for name, value in search.verdict.winner.setting.items()]
            + [("distil.steps", "4"), ("distil.learning_rate", "0.002")],
        ),
    ).student
    assert student is not None
    assert mine is not None
    assert (student.reused, student.fingerprint) == (False, mine.fingerprint)
    run_pipeline(replace(adopted, until="teacher"), console(tmp_path / "out.txt"))
    mlflow = client(config)
    newest = mlflow.search_runs(
        [e.experiment_id for e in mlflow.search_experiments()], "tags.workdir != ''", order_by=["start_time DESC"]
    )[0]
    assert newest.data.tags["from_search"] == search.mlflow_run_id
    kept = from_yaml((Path(adopted.workdir) / CONFIG).read_text(), CONFIG)
    assert kept.distil.temperature == search.verdict.winner.setting["temperature"]


@pytest.mark.slow  # a trial and its confirmations more
def test_tune_of_more_trials_goes_on_from_those_that_are_there(searched: Searched, tmp_path: Path) -> None:
    """In a storage of its own: a search that is found would be gone on from by others too."""
    workdir = Path(searched.config.workdir)
    shutil.copytree(workdir, tmp_path / "work")
    more = replace(searched.config, workdir=str(tmp_path / "work"))
    found = tune(replace(more, tune=replace(more.tune, trials=4)), console(tmp_path / "out.txt"))
    first = searched.search
    said = (tmp_path / "out.txt").read_text()
    assert f"goes on from search {first.mlflow_run_id}: 3 of 4 trials are there." in said
    assert found.mlflow_run_id != first.mlflow_run_id
    assert (found.trials, found.tokens_spent >= first.tokens_spent) == (4, True)
    trials, before = Ledger(found.folder / "trials").trials, searched.ledgers[0].trials
    assert [replace(trial, run_id=None) for trial in trials[:3]] == [replace(trial, run_id=None) for trial in before]
    assert trials[3].seconds > 0
    made = children(searched.config, found.mlflow_run_id)
    assert [run.info.run_id for run in made] == [trial.run_id for trial in trials]
    assert {run.info.status for run in made} <= {"FINISHED", "FAILED"}
    for trial, run in zip(trials, made, strict=True):
        history = client(searched.config).get_metric_history(run.info.run_id, "heldout_mlm_loss")
        assert [point.step for point in history] == [report.step for report in trial.reports]
    assert len(children(searched.config, first.mlflow_run_id)) == 3
    paper = [one for one in Ledger(found.folder / "confirmations").trials if one.confirms == 0]
    by_seed = {one.seed: one.reports for one in paper}  # a race with one more in it may take more seeds
    there = [one for one in searched.ledgers[1].trials if one.confirms == 0]
    assert [by_seed[one.seed] for one in there] == [one.reports for one in there]


def test_tune_bad_input_is_refused_before_anything_is_written(config: PipelineConfig, tmp_path: Path) -> None:
    fresh = replace(config, workdir=str(tmp_path / "new"))
    narrow = replace(fresh.tune, also=(Dimension(field="mask_rate", low=0.1, high=0.2),))
    with pytest.raises(ConfigError, match=r"the range of mask_rate is '0.1..0.2' but must hold 0.4"):
        tune(replace(fresh, tune=narrow), console(tmp_path / "out.txt"))
    assert not [path for path in (tmp_path / "new").iterdir() if path.is_dir()]
