"""A search of more trials: which finished one it goes on from, what that leaves of its budget, and what it takes over.

No trial is run: ledgers and records are as searches leave them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded import ABOUT, client, report

from pipeline.config.schema import PipelineConfig
from pipeline.config.serialisation import to_plain
from pipeline.recipes import recipe
from pipeline.records.products import Products
from pipeline.records.record import Record, identify, write_record
from pipeline.records.reuse import Reuse, Silent, StageResult
from pipeline.runtime.environment import environment
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import run
from pipeline.tuning.config import PAPER, TuneConfig
from pipeline.tuning.extension.earlier import earlier_search
from pipeline.tuning.extension.take_over import take_confirmations, take_trials
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.stage import Searched, Searching, step_of
from pipeline.tuning.verdict import Confirmed, Search
from stages.errors import InputError
from stages.storage import Folder
from stages.tokens.blocks import Blocks

EARLIER = "ea" * 16
WHOLE = 32 * 16 * 50
"""Tokens of a whole trial: fifty batches of 32 blocks of 16."""


def made(stage: str, artifact: Any) -> StageResult[Any]:
    return StageResult(
        stage=stage, fingerprint=f"{stage}1", folder=Folder(f"/{stage}"), reused=True, why=(), seconds=1.0,
        recorded=artifact,
    )  # fmt: skip


@pytest.fixture
def ready(blocks: Blocks) -> Products:
    """What both searches are made from."""
    return Products(
        corpus=made("corpus", "text"),
        teacher=made("teacher", "model"),
        blocks=made("tokens", replace(blocks, block_length=16)),
    )


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    tune = TuneConfig(trials=4, spend=2.0, budget_tokens=WHOLE)
    return replace(recipe("demo"), workdir=str(tmp_path / "work"), tune=tune)


def plan_of(config: PipelineConfig) -> Reuse:
    return Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)


def finish(config: PipelineConfig, ready: Products, tokens: tuple[int, ...]) -> Folder:
    """Leave a finished search whose trials took so many tokens, and whose trials 0 and 1 were confirmed."""
    found = step_of(plan_of(config), Searching.search, config, ready)
    trials, runs = Ledger(found.folder / "trials"), Ledger(found.folder / "confirmations")
    for taken in tokens:
        trial = trials.begin(PAPER, seed=1)
        trials.report(trial.number, replace(report(1), tokens=taken))
        trials.end(trial.number, "completed" if taken == WHOLE else "stopped early", seconds=1.0)
    for seed in (2, 3):
        for confirmed in (0, 1):
            one = runs.begin(PAPER, seed=seed, confirms=confirmed)
            runs.report(one.number, report(1))
            runs.end(one.number, "completed", seconds=1.0)
    search = Search(
        folder=found.folder,
        mlflow_run_id=EARLIER,
        objective="heldout_mlm_loss",
        trials=len(tokens),
        completed=1,
        failed=0,
        tokens_spent=sum(tokens),
        full_budget_tokens=WHOLE,
        confirm_tokens=4,
        seeds=(2, 3),
        confirmed=(Confirmed(trial=0, setting=PAPER, values=(2.0, 2.0)),),
    )
    assert ready.blocks is not None
    inputs = {one.stage: one.fingerprint for one in (ready.teacher, ready.blocks)}
    searched = Searched(tune=config.tune, distil=config.distil)
    record = Record(
        fingerprint=found.fingerprint,
        identity=identify("search", 2, searched, seed=config.seed, inputs=inputs),
        artifact=to_plain(search, base=found.folder),
        seconds=9.0,
        finished="2026-01-01T00:00:00+00:00",
        environment=environment(),
    )
    write_record(found.folder, record)
    return found.folder


def with_tune(config: PipelineConfig, **fields: Any) -> PipelineConfig:
    return replace(config, tune=replace(config.tune, **fields))


def test_search_of_more_trials_goes_on_from_the_finished_one_of_most(config: PipelineConfig, ready: Products) -> None:
    finish(with_tune(config, trials=3), ready, (WHOLE, WHOLE // 10, WHOLE // 10))
    four = finish(config, ready, (WHOLE, WHOLE // 10, WHOLE // 10, WHOLE // 10))
    for more in (with_tune(config, trials=6), with_tune(config, trials=6, spend=3.0)):
        found = earlier_search(plan_of(more), more, ready)
        assert found is not None
        assert found.folder == four


@pytest.mark.parametrize(
    "fields", [{"trials": 2}, {"trials": 6, "spend": 1.9}, {"trials": 6, "temperature": (1.0, 4.0)}]
)
def test_search_with_fewer_trials_less_to_spend_or_another_space_starts_anew(
    config: PipelineConfig, ready: Products, fields: dict[str, Any]
) -> None:
    finish(with_tune(config, trials=3), ready, (WHOLE, WHOLE // 10, WHOLE // 10))
    other = with_tune(config, **fields)
    assert earlier_search(plan_of(other), other, ready) is None


def test_search_on_another_seed_or_teacher_starts_anew(config: PipelineConfig, ready: Products) -> None:
    finish(config, ready, (WHOLE,) * 1 + (WHOLE // 10,) * 3)
    more = with_tune(config, trials=6)
    assert earlier_search(plan_of(replace(more, seed=9)), more, ready) is None
    other = replace(ready, teacher=replace(ready.teacher, fingerprint="teacher2"))
    assert earlier_search(plan_of(more), more, other) is None


def test_trials_that_no_longer_fit_into_what_may_be_spent_are_refused_with_how_much_does(
    config: PipelineConfig, ready: Products
) -> None:
    """1.9 whole trials are spent, and two more need a tenth each."""
    finish(config, ready, (WHOLE, WHOLE // 2, 3 * WHOLE // 10, WHOLE // 10))
    more = with_tune(config, trials=6)
    words = rf"the 4 trials of search {EARLIER} have cost 1\.90 whole trials, with 2 more it is 2\.1 at least.*--tune"
    with pytest.raises(InputError, match=words):
        earlier_search(plan_of(more), more, ready)
    assert earlier_search(plan_of(more), with_tune(more, spend=3.0), ready) is not None


def test_what_is_taken_over_is_below_the_new_search_in_mlflow_and_comes_once(
    config: PipelineConfig, ready: Products, mlflow_store: str, tmp_path: Path
) -> None:
    from pipeline.tuning.tracking.runs import Children

    earlier = finish(config, ready, (WHOLE, WHOLE // 10))
    new = Folder(str(tmp_path / "new"))
    with run(TrackingConfig(uri=mlflow_store, system_metrics=False), ABOUT) as live:
        for _ in range(2):  # killed, and begun again
            trials, runs, children = Ledger(new / "trials"), Ledger(new / "confirmations"), Children(live)
            take_trials(earlier, trials, children)
            for trial in trials.trials:
                children.ended(trial)
            take_confirmations(earlier, runs, [0], children)
            children.close(interrupted=False)
    assert live.problems == []
    before = Ledger(earlier / "trials").trials
    assert [replace(trial, run_id=None) for trial in trials.trials] == before
    assert [(one.number, one.confirms, one.seed) for one in runs.trials] == [(0, 0, 2), (1, 0, 3)]
    found = client(live).search_runs([live.experiment_id], "tags.kind = 'trial'")
    assert {one.info.run_id for one in found} == {trial.run_id for trial in trials.trials}
    assert {one.info.status for one in found} == {"FINISHED"}
    assert {one.data.tags["mlflow.parentRunId"] for one in found} == {live.run_id}
    confirming = client(live).search_runs([live.experiment_id], "tags.kind = 'confirmation'")
    assert {one.data.tags["mlflow.parentRunId"] for one in confirming} == {trials[0].run_id}
    assert len(confirming) == 2
