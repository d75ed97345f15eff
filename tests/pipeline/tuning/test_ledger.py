"""What a killed search goes on from: every trial in a file, from before it starts."""

import pickle
from pathlib import Path

import pytest

from pipeline.tuning.ledger import Ledger, Report, Trial
from stages.storage import Folder


def a_report(step: int, loss: float = 3.0) -> Report:
    return Report(step=step, tokens=100 * step, metrics={"heldout_mlm_loss": loss})


def test_ledger_read_again_has_all_that_was_written(tmp_path: Path) -> None:
    ledger = Ledger(Folder(str(tmp_path)))
    ledger.begin({"temperature": 2.0, "layers": "0,3"}, seed=7, point={"temperature": 2.0})
    ledger.started(0, "abc")
    assert ledger.report(0, a_report(10))
    ledger.end(0, "failed", seconds=3.5, why="it broke")
    ledger.begin({"temperature": 4.0}, seed=8, confirms=0)
    again = Ledger(Folder(str(tmp_path)))
    assert again.trials == ledger.trials
    assert again[0] == Trial(
        number=0, setting={"temperature": 2.0, "layers": "0,3"}, point={"temperature": 2.0}, seed=7, state="failed",
        why="it broke", reports=(a_report(10),), run_id="abc", seconds=3.5,
    )  # fmt: skip
    assert (again[1].confirms, again[1].is_over, again[1].tokens) == (0, False, 0)
    assert again.begin({}, seed=0).number == 2


def test_report_of_a_step_that_was_reported_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(Folder(str(tmp_path)))
    ledger.begin({}, seed=0)
    assert [ledger.report(0, a_report(step, loss)) for step, loss in ((10, 3.0), (20, 2.0), (10, 9.0), (20, 9.0))] == [
        True, True, False, False,
    ]  # fmt: skip
    assert ledger[0].objective("heldout_mlm_loss") == 2.0
    assert [report.step for report in ledger[0].reports] == [10, 20]


def test_started_again_a_failed_run_is_running_and_its_seconds_add_up(tmp_path: Path) -> None:
    ledger = Ledger(Folder(str(tmp_path)))
    ledger.begin({}, seed=0)
    ledger.end(0, "failed", seconds=3.0, why="a node was lost")
    assert not ledger.started(0, "abc").is_over
    ended = ledger.end(0, "completed", seconds=4.0)
    assert (ended.seconds, ended.why) == (7.0, "")


def test_on_change_is_told_of_every_change_and_a_pickled_copy_tells_nobody(tmp_path: Path) -> None:
    told: list[list[str]] = []
    ledger = Ledger(Folder(str(tmp_path)), lambda trials: told.append([trial.state for trial in trials]))
    ledger.begin({}, seed=0)
    ledger.begin({}, seed=0)
    ledger.end(0, "completed", seconds=1.0)
    copy = pickle.loads(pickle.dumps(ledger))
    copy.end(1, "completed", seconds=1.0)
    assert told == [["running"], ["running", "running"], ["completed", "running"]]


def test_objective_before_the_first_report_is_none_and_an_unknown_one_an_error(tmp_path: Path) -> None:
    ledger = Ledger(Folder(str(tmp_path)))
    ledger.begin({}, seed=0)
    assert ledger[0].objective("heldout_mlm_loss") is None
    ledger.report(0, a_report(10))
    with pytest.raises(KeyError):
        ledger[0].objective("loss_of_nerve")
