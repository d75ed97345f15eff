"""The runs of a search's trials in MLflow, read back through MLflow's own client from a real store."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import ViewType
from recorded import ABOUT, client, report, trial

import pipeline.tuning.tracking.runs
from pipeline.tracking.away.sync import deliver_kept
from pipeline.tracking.away.undelivered import NAME, MlflowAway
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.run import run
from pipeline.tracking.store import Store
from pipeline.tuning.ledger import Report, State, Trial
from pipeline.tuning.tracking.runs import Children


@pytest.fixture
def config(mlflow_store: str) -> TrackingConfig:
    return TrackingConfig(uri=mlflow_store, system_metrics=False)


@pytest.fixture
def live(config: TrackingConfig) -> Iterator[LiveRun]:
    with run(config, ABOUT) as live:
        yield live


def children(live: LiveRun, of: str | None = None) -> list[Any]:
    """The runs right below a run, the search's unless given another."""
    query = f"tags.`mlflow.parentRunId` = '{of or live.run_id}'"
    return list(client(live).search_runs([live.experiment_id], query, order_by=["start_time ASC"]))


def confirmation(confirms: int, seed: int) -> Trial:
    return replace(trial(0), number=2 * confirms + seed, confirms=confirms, seed=seed)


def history(live: LiveRun, run_id: str | None, name: str) -> list[tuple[int, float]]:
    assert run_id is not None
    return [(m.step, m.value) for m in client(live).get_metric_history(run_id, name)]


@contextmanager
def away(store: Store) -> Iterator[None]:
    """The store answers nothing but errors: a table that every request needs has another name."""
    assert store.file
    for i, (old, new) in enumerate((("runs", "elsewhere"), ("elsewhere", "runs"))):
        with closing(sqlite3.connect(store.file)) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")
            database.commit()
        if i == 0:
            yield


def test_children_a_trial_leaves_its_setting_its_metrics_and_its_state(live: LiveRun) -> None:
    runs = Children(live, hardware="2 cores")
    run_id = runs.started(trial(3))
    for step in range(1, 6):
        runs.report(trial(3), report(step))
    runs.ended(trial(3, steps=5, state="completed"))
    runs.close(interrupted=False)
    assert live.problems == []
    (found,) = children(live)
    assert (found.info.run_id, found.info.run_name, found.info.status) == (run_id, "trial 3", "FINISHED")
    assert found.data.params == {
        "distil.temperature": "5.0",
        "distil.alpha_ce": "5.0",
        "distil.layers": "0,2",
        "seed": "7",
    }
    tags = {name: value for name, value in found.data.tags.items() if not name.startswith("mlflow.")}
    assert tags == {"trial": "3", "seed": "7", "kind": "trial", "state": "completed", "hardware": "2 cores"}
    assert history(live, run_id, "loss") == [(step, 9 / step) for step in range(1, 6)]
    assert history(live, run_id, "tokens") == [(step, 1000.0 * step) for step in range(1, 6)]


@pytest.mark.parametrize(
    ("state", "why", "status"),
    [("completed", "", "FINISHED"), ("stopped early", "", "FINISHED"), ("failed", "the loss is NaN", "FAILED")],
)
def test_ended_status_and_tags_say_how(live: LiveRun, state: State, why: str, status: str) -> None:
    runs = Children(live)
    runs.started(trial(1))
    runs.ended(trial(1, state=state, why=why))
    runs.close(interrupted=True)
    (found,) = children(live)
    assert (found.info.status, found.data.tags["state"], found.data.tags.get("error", "")) == (status, state, why)


def test_children_metrics_of_trials_that_run_together_do_not_mix(live: LiveRun) -> None:
    runs = Children(live)
    ids = [runs.started(trial(number)) for number in range(3)]
    for step in range(1, 4):
        for number in range(3):
            runs.report(trial(number), Report(step=step, tokens=step, metrics={"loss": 10.0 * number + step}))
    runs.close(interrupted=True)
    for number, run_id in enumerate(ids):
        assert history(live, run_id, "loss") == [(step, 10.0 * number + step) for step in (1, 2, 3)]


@pytest.mark.parametrize("ledger_knows", [True, False])
def test_children_after_a_kill_go_on_in_the_same_runs(live: LiveRun, ledger_knows: bool) -> None:
    first = Children(live)
    ids = [first.started(trial(number)) for number in range(3)]
    first.report(trial(0), report(1))
    first.close(interrupted=True)
    assert [run.info.status for run in children(live)] == ["KILLED"] * 3
    second = Children(live)
    for number in range(3):
        again = replace(trial(number), run_id=ids[number] if ledger_knows else None)
        assert second.started(again) == ids[number]
        assert client(live).get_run(ids[number]).info.status == "RUNNING"
        second.report(again, report(1))  # a continued trial repeats what came after its checkpoint
        second.report(again, report(2))
        second.ended(replace(again, state="completed"))
    second.close(interrupted=False)
    assert live.problems == []
    assert [(run.info.status, run.data.tags["state"]) for run in children(live)] == [("FINISHED", "completed")] * 3
    assert [history(live, run_id, "loss") for run_id in ids] == [[(1, 9.0), (2, 4.5)]] * 3


def test_children_killed_outright_leave_nothing_that_the_next_start_does_not_mend(live: LiveRun) -> None:
    first = Children(live)
    ids = [first.started(trial(number)) for number in range(2)]  # and then neither metrics, nor an end, nor a close
    second = Children(live)
    second.ended(trial(0, steps=3, state="stopped early"))  # over by the ledger, not by MLflow
    second.ended(trial(1, steps=2, state="completed"))
    second.ended(trial(2, steps=1, state="completed"))  # and one of which MLflow knows nothing
    second.close(interrupted=False)
    assert live.problems == []
    found = children(live)
    assert [run.data.tags["state"] for run in found] == ["stopped early", "completed", "completed"]
    assert [run.info.run_id for run in found[:2]] == ids
    assert [len(history(live, run.info.run_id, "loss")) for run in found] == [3, 2, 1]


def test_children_more_than_a_page_are_all_found(live: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.tuning.tracking.runs, "PAGE", 2)
    first = Children(live)
    ids = [first.started(trial(number)) for number in range(5)]
    second = Children(live)
    assert [second.started(trial(number)) for number in range(5)] == ids
    assert len(children(live)) == 5


def test_started_twice_is_one_run(live: LiveRun) -> None:
    runs = Children(live)
    ids = set()
    for _ in range(2):
        ids.add(runs.started(trial(0, steps=1)))
        runs.report(trial(0), report(2))
    runs.close(interrupted=True)
    assert len(ids) == len(children(live)) == 1
    assert [step for step, _ in history(live, ids.pop(), "loss")] == [1, 2]


def test_ended_trial_that_has_ended_is_left_as_it_was(live: LiveRun) -> None:
    runs = Children(live)
    run_id = runs.started(trial(0))
    runs.ended(trial(0, state="completed"))
    before = client(live).get_run(run_id).info
    again = Children(live)
    again.ended(trial(0, state="completed"))
    assert vars(client(live).get_run(run_id).info) == vars(before)


def test_ended_trial_has_its_last_loss_under_the_name_that_runs_are_sorted_by_once(live: LiveRun) -> None:
    """Also where a search was killed after that, and its trials start or end again."""
    done = [trial(number, steps=4, state=state) for number, state in enumerate(("completed", "stopped early"))]
    failed = trial(2, steps=2, state="failed", why="the loss is NaN")
    ids = []
    for again in range(3):
        runs = Children(live)
        ids = [runs.started(replace(one, state="running")) for one in (*done, failed)] if again < 2 else ids
        for one in (*done, failed):
            runs.ended(one)
        runs.close(interrupted=False)
    for run_id in ids[:2]:
        assert history(live, run_id, "final/heldout_mlm_loss") == [(0, 5 / 4)]
    assert history(live, ids[2], "final/heldout_mlm_loss") == [], "what it had last is no result"
    assert live.problems == []


def test_ended_run_that_a_kill_left_without_its_last_metrics_gets_them_once(live: LiveRun) -> None:
    """Its end was in MLflow at once, its metrics were still to be sent."""
    before = Children(live)
    run_id = before.started(trial(1))
    before.report(trial(1), report(1))
    before.ended(trial(1, state="completed"))
    before.close(interrupted=True)
    for _ in range(2):
        after = Children(live)
        after.ended(trial(1, steps=4, state="completed"))
        after.close(interrupted=False)
    assert history(live, run_id, "loss") == [(step, 9 / step) for step in range(1, 5)]
    assert [found.info.status for found in children(live)] == ["FINISHED"]
    assert live.problems == []


def test_children_of_somebody_else_below_the_search_are_left_alone(live: LiveRun) -> None:
    other = client(live).create_run(live.experiment_id, tags={"mlflow.parentRunId": live.run_id})
    runs = Children(live)
    runs.started(trial(0))
    runs.close(interrupted=True)
    assert client(live).get_run(other.info.run_id).info.status == "RUNNING"
    assert live.problems == []


def test_confirmations_lie_below_the_trial_that_they_confirm(live: LiveRun) -> None:
    runs = Children(live)
    above = {number: runs.started(trial(number)) for number in (0, 4)}
    for number in above:
        runs.ended(trial(number, state="completed"))
    ids = {}
    for again in (runs, Children(live)):  # the second: after a kill, and only now
        for number, parent in above.items():
            for seed in (1, 2):
                run_id = again.started(confirmation(number, seed), parent if again is runs else None)
                assert ids.setdefault((number, seed), run_id) == run_id
    assert {run.info.run_id for run in children(live)} == set(above.values())
    found = children(live, above[4])
    assert [run.info.run_name for run in found] == ["confirm 4, seed 1", "confirm 4, seed 2"]
    assert [run.info.run_id for run in found] == [ids[4, 1], ids[4, 2]]
    assert [(run.data.tags["kind"], run.data.tags["confirms"]) for run in found] == [("confirmation", "4")] * 2
    assert [run.data.tags["seed"] for run in found] == [run.data.params["seed"] for run in found] == ["1", "2"]
    assert live.problems == []


def test_confirmation_of_a_trial_without_a_run_is_not_put_below_the_search(live: LiveRun) -> None:
    runs = Children(live)
    assert runs.started(confirmation(4, 1)) is None
    assert children(live) == []
    assert "confirm 4, seed 1" in live.problems.pop()


def test_children_store_away_cost_a_problem_and_are_recorded_when_it_is_back(live: LiveRun) -> None:
    with away(live.store):
        runs = Children(live)
        assert runs.started(trial(0)) is None
        assert runs.started(replace(trial(1), run_id="the ledger's")) == "the ledger's"
        runs.report(trial(0), report(1))
    assert any("trial 0" in problem for problem in live.problems)
    live.problems.clear()
    runs.ended(trial(0, steps=2, state="completed"))
    runs.close(interrupted=False)
    assert live.problems == []
    (found,) = children(live)
    assert found.data.params["distil.temperature"] == "2.0"
    assert (found.info.status, found.data.tags["state"]) == ("FINISHED", "completed")
    assert history(live, found.info.run_id, "loss") == [(1, 9.0), (2, 4.5)]


def test_ended_store_away_is_made_up_for_at_the_close(live: LiveRun) -> None:
    runs = Children(live)
    run_id = runs.started(trial(0))
    with away(live.store):
        runs.report(trial(0), report(1))
        runs.ended(trial(0, steps=1, state="failed", why="out of memory"))
    runs.close(interrupted=True)
    (found,) = children(live)
    assert (found.info.status, found.data.tags["error"]) == ("FAILED", "out of memory")
    assert history(live, run_id, "loss") == [(1, 9.0)]
    assert live.problems == []


def test_children_store_away_at_the_close_is_kept_beside_the_search_and_arrives_once(
    config: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.live_run.PATIENCE", 0.1)
    with ExitStack() as later, run(config, replace(ABOUT, workdir=str(tmp_path))) as live:
        runs = Children(live)
        run_id = runs.started(trial(0))
        later.enter_context(away(live.store))
        runs.started(trial(1))
        runs.ended(trial(0, steps=2, state="completed"))
        monkeypatch.setattr(runs._delivery, "close", list)  # which waits for half a minute
        runs.close(interrupted=False)
    with pytest.raises(MlflowAway, match=r"the end of 2 runs, and the runs of 1 trials: kept in"):
        live.check_delivered()
    for _ in range(2):
        before = (tmp_path / NAME).read_bytes()
        assert deliver_kept(tmp_path, print) == {run_id, live.run_id}
        (tmp_path / NAME).write_bytes(before)  # as if it had been killed before it could take note
    (found,) = children(live)
    assert (found.info.status, found.data.tags["state"]) == ("FINISHED", "completed")
    assert history(live, run_id, "loss") == [(1, 9.0), (2, 4.5)]
    assert client(live).get_run(live.run_id).info.status == "FINISHED"


def test_children_nobody_there_at_all_raises_nothing(live: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    there, live.store = live.store, Store(uri="http://127.0.0.1:9", artifacts=None)
    runs = Children(live)
    assert runs.started(trial(0)) is None
    runs.report(trial(0), report(1))
    runs.ended(trial(0, steps=1, state="completed"))
    runs.close(interrupted=False)
    for what in ("the run of trial 0", "the end of trial 0"):
        assert any(what in problem for problem in live.problems), what
    live.store = there
    assert children(live) == []


def test_report_store_that_refuses_one_trial_takes_the_others(live: LiveRun) -> None:
    runs = Children(live)
    ids = [runs.started(trial(number)) for number in range(3)]
    client(live).delete_run(ids[1])  # by hand, while it runs
    for number in range(3):
        runs.report(trial(number), report(1))
    runs.ended(trial(2, steps=1, state="completed"))
    runs.close(interrupted=True)
    assert [len(history(live, ids[number], "tokens")) for number in (0, 2)] == [1, 1]
    assert any(f"3 metric values of run {ids[1]} were refused" in problem for problem in live.problems)
    assert all(str(ids[1]) in problem for problem in live.problems), "nothing else went wrong"
    assert [run.info.status for run in children(live)] == ["KILLED", "FINISHED"]


def test_report_value_that_is_no_number_is_a_problem_of_that_report_alone(live: LiveRun) -> None:
    runs = Children(live)
    run_id = runs.started(trial(0))
    strange: Any = {"loss": "much"}
    runs.report(trial(0), Report(step=1, tokens=1000, metrics=strange))
    runs.report(trial(0), Report(step=2, tokens=2000, metrics={"loss": float("nan")}))
    runs.report(trial(0), report(3))
    runs.close(interrupted=True)
    assert [step for step, _ in history(live, run_id, "loss")] == [2, 3]
    (problem,) = live.problems
    assert "step 1 of trial 0" in problem


def test_children_print_nothing(config: TrackingConfig, capfd: pytest.CaptureFixture[str]) -> None:
    with run(config, ABOUT) as live:
        runs = Children(live)
        runs.started(trial(0))
        runs.report(trial(0), report(1))
        runs.ended(trial(0, steps=1, state="completed"))
        runs.close(interrupted=False)
    assert "".join(capfd.readouterr()) == ""
    assert len(client(live).search_runs([live.experiment_id], run_view_type=ViewType.ALL)) == 2
