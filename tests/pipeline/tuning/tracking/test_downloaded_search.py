"""A search of another machine, by its MLflow run alone."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from recorded import ABOUT, trial

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import run
from pipeline.tuning.tracking.conclusion import log_search
from pipeline.tuning.tracking.which_search import find_search
from pipeline.tuning.verdict import Confirmed, Search
from stages.errors import InputError
from stages.storage import Folder

PAPER = Confirmed(trial=0, setting={"temperature": 2.0, "alpha_ce": 5.0, "layers": "0,2"}, values=(3.0, 3.2, 3.1))
OTHER = Confirmed(trial=1, setting={"temperature": 3.0, "alpha_ce": 4.5, "layers": "0,2"}, values=(2.0, 2.2, 2.1))


def a_search(run_id: str) -> Search:
    return Search(
        folder=Folder("/home/ray/runs/demo/search/ab12"),
        mlflow_run_id=run_id,
        objective="heldout_mlm_loss",
        trials=2,
        completed=2,
        failed=0,
        tokens_spent=5000,
        full_budget_tokens=2000,
        confirm_tokens=8000,
        seeds=(1, 2, 3),
        confirmed=(PAPER, OTHER),
    )


def test_search_of_another_machine_is_what_its_mlflow_run_holds(mlflow_store: str, tmp_path: Path) -> None:
    config = TrackingConfig(uri=mlflow_store, system_metrics=False)
    with run(config, ABOUT) as live:
        run_id = live.run_id
        with pytest.raises(InputError, match=r"has no search\.json of a finished search .*: let it finish"):
            find_search(run_id, tmp_path / "runs", config)
        trials = [trial(number, steps=2, state="completed") for number in (0, 1)]
        log_search(live, trials, a_search(run_id), [("objective.png", Figure())])
    found = find_search(run_id, tmp_path / "runs", config)
    assert found == a_search(run_id)
    assert found.verdict.winner == OTHER


def test_id_that_neither_a_workdir_nor_mlflow_has_says_where_it_was_looked_for(
    mlflow_store: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"no search {'e' * 32} here, nor in MLflow at {mlflow_store}"):
        find_search("e" * 32, tmp_path / "runs", TrackingConfig(uri=mlflow_store))
    with pytest.raises(InputError, match=r"does not exist yet: give the --tracking\.uri that has it"):
        find_search("e" * 32, tmp_path / "runs", TrackingConfig(uri=f"sqlite:///{tmp_path}/none.db"))
