"""A search that is over and that MLflow knows in part: the same command gives it the rest, from the ledger."""

from pathlib import Path
from typing import Any

from recorded import ABOUT, client, report

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import run
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.stage import Searching
from stages.storage import Folder


def test_trials_whose_runs_could_not_be_made_are_made_from_the_ledger(mlflow_store: str, tmp_path: Path) -> None:
    folder, nothing = Folder(str(tmp_path / "search")), None
    trials, confirmations = Ledger(folder / "trials"), Ledger(folder / "confirmations")
    first = trials.begin({"temperature": 2.0}, seed=7)
    trials.report(first.number, report(1))
    trials.end(first.number, "completed", seconds=1.0)
    again = confirmations.begin({"temperature": 2.0}, seed=8, confirms=0)
    confirmations.end(again.number, "completed", seconds=1.0)
    with run(TrackingConfig(uri=mlflow_store, system_metrics=False), ABOUT) as live:
        unknown: Any = nothing
        searching = Searching(ready=unknown, budget=unknown, board=unknown, live=live, halves=unknown)
        for _ in range(2):
            searching.tell_again(folder)
    assert live.problems == []
    found = client(live).search_runs([live.experiment_id], "tags.kind = 'trial'")
    assert [one.info.status for one in found] == ["FINISHED"]
    assert [m.step for m in client(live).get_metric_history(found[0].info.run_id, "loss")] == [1]
    assert len(client(live).search_runs([live.experiment_id], "tags.kind = 'confirmation'")) == 1
