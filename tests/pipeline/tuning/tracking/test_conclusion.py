"""What came of a search, read back through MLflow's own client from a real store."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from mlflow.entities import ViewType
from recorded import ABOUT, client, trial

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.run import run
from pipeline.tracking.store import Store
from pipeline.tuning.tracking.conclusion import log_search
from pipeline.tuning.tracking.description import concluded
from pipeline.tuning.verdict import Confirmed, Search
from stages.storage import Folder

PAPER = Confirmed(trial=0, setting={"temperature": 2.0, "alpha_ce": 5.0, "layers": "0,2"}, values=(3.0, 3.2, 3.1))
OTHER = Confirmed(trial=1, setting={"temperature": 3.0, "alpha_ce": 5.0, "layers": "0,2"}, values=(2.9, 3.08, 3.0))
SEARCH = Search(
    folder=Folder("/runs/demo/tune"),
    mlflow_run_id="m1",
    objective="heldout_mlm_loss",
    trials=3,
    completed=2,
    failed=1,
    tokens_spent=5000,
    full_budget_tokens=2000,
    confirm_tokens=8000,
    seeds=(1, 2, 3),
    confirmed=(PAPER, OTHER),
)
TRIALS = [
    trial(0, steps=2, state="completed"),
    replace(trial(1, steps=2, state="completed"), seconds=81.25, run_id="m2"),
    replace(trial(2, state="failed", why="the loss is NaN"), setting={"temperature": 4.0, "mask_rate": 0.3}),
]


@pytest.fixture
def config(mlflow_store: str) -> TrackingConfig:
    return TrackingConfig(uri=mlflow_store, system_metrics=False)


@pytest.fixture
def live(config: TrackingConfig) -> Iterator[LiveRun]:
    with run(config, ABOUT) as live:
        yield live


def test_log_search_parent_holds_the_winner_the_figures_and_the_table(
    live: LiveRun, config: TrackingConfig, tmp_path: Path
) -> None:
    log_search(live, TRIALS, SEARCH, [("objective.png", Figure()), ("weights.png", Figure())])
    live.close("FINISHED")
    assert live.problems == []
    found = client(live).get_run(live.run_id)
    best = {name: value for name, value in found.data.params.items() if name.startswith("best.")}
    assert best == {"best.temperature": "3.0", "best.alpha_ce": "5.0", "best.layers": "0,2"}
    tags = {name: found.data.tags[name] for name in ("objective", "verdict", "winner_trial")}
    assert tags == {"objective": "heldout_mlm_loss", "verdict": "better than the paper's", "winner_trial": "1"}
    assert found.data.metrics == pytest.approx(
        {
            "final/paper_objective": 3.1,
            "final/best_objective": 2.99333333,
            "final/gain": 0.32 / 3,  # 0.10, 0.12 and 0.10
            "final/spread": 0.02 / 3**0.5,
            "final/gain_low": 0.32 / 3 - 2.91999 * 0.02 / 3,  # t(2) at 0.05: one candidate
            "final/gain_high": 0.32 / 3 + 2.91999 * 0.02 / 3,
            "final/p_value": (1 - 16 / 258**0.5) / 2,  # of t = 16 with two degrees of freedom
            "final/tokens_spent": 5000,
            "final/full_budget_tokens": 2000,
            "final/confirm_tokens": 8000,
            "final/trials": 3,
            "final/failed": 1,
        }
    )
    saved = Path(client(live).download_artifacts(live.run_id, "", str(tmp_path)))
    assert {file.name for file in (saved / "plots").iterdir()} == {"objective.png", "weights.png"}
    verdict = json.loads((saved / "search.json").read_text())["verdict"]
    assert (verdict["best"]["values"], verdict["is_better"]) == ([2.9, 3.08, 3.0], True)
    with (saved / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["heldout_mlm_loss"] for row in rows] == ["2.5", "2.5", ""]
    assert [row["temperature"] for row in rows] == ["2.0", "3.0", "4.0"]
    assert [row["mask_rate"] for row in rows] == ["", "", "0.3"]
    assert (rows[1]["seconds"], rows[1]["run_id"], rows[2]["why"]) == ("81.2", "m2", "the loss is NaN")


def test_log_search_table_is_one_that_mlflow_shows_and_not_longer_the_second_time(live: LiveRun) -> None:
    log_search(live, TRIALS[:2], SEARCH, [])
    paper_wins = replace(SEARCH, confirmed=(PAPER, replace(OTHER, values=(2.9, 3.08, 3.1))))
    log_search(live, TRIALS, paper_wins, [])
    assert live.problems == []
    shown = client(live).load_table(live.experiment_id, "trials.json", [live.run_id])
    assert list(shown["trial"]) == [0, 1, 2]
    assert list(shown["state"]) == ["completed", "completed", "failed"]
    assert list(shown["tokens"]) == [2000, 2000, 0]
    found = client(live).get_run(live.run_id)
    listed = json.loads(found.data.tags["mlflow.loggedArtifacts"])
    assert listed == [{"path": "trials.json", "type": "table"}]
    assert (found.data.tags["verdict"], found.data.tags["winner_trial"]) == ("no better than the paper's", "0")
    assert found.data.params["best.temperature"] == "3.0", "a parameter is written once"


def test_log_search_nothing_but_the_paper_has_no_best(live: LiveRun) -> None:
    alone = replace(SEARCH, confirmed=(PAPER,))
    log_search(live, TRIALS[:1], alone, [])
    live.close("FINISHED")
    found = client(live).get_run(live.run_id)
    assert "final/best_objective" not in found.data.metrics
    assert found.data.params["best.temperature"] == "2.0"


def test_log_search_figure_that_cannot_be_drawn_leaves_the_rest(live: LiveRun) -> None:
    def figures() -> Iterator[tuple[str, Figure]]:
        yield "objective.png", Figure()
        raise ZeroDivisionError("no range")

    log_search(live, TRIALS, SEARCH, figures())
    (problem,) = live.problems
    assert "no range" in problem
    assert [file.path for file in client(live).list_artifacts(live.run_id, "plots")] == ["plots/objective.png"]
    assert client(live).get_run(live.run_id).data.tags["winner_trial"] == "1"


def test_log_search_nobody_there_at_all_raises_nothing(live: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    there, live.store = live.store, Store(uri="http://127.0.0.1:9", artifacts=None)
    log_search(live, TRIALS, SEARCH, [("t.png", Figure())])
    live.store = there
    for what in ("the best setting", "trials.json"):
        assert any(what in problem for problem in live.problems), what


def test_log_search_prints_nothing_and_makes_no_run(config: TrackingConfig, capfd: pytest.CaptureFixture[str]) -> None:
    with run(config, ABOUT) as live:
        log_search(live, TRIALS, SEARCH, [("objective.png", Figure())])
    assert "".join(capfd.readouterr()) == ""
    assert len(client(live).search_runs([live.experiment_id], run_view_type=ViewType.ALL)) == 1


def test_description_of_a_search_has_the_verdict_every_setting_that_was_confirmed_and_the_full_run() -> None:
    text = concluded(SEARCH, "demo", "distil tune demo --trials 3", "distil run demo --from-search m1")
    assert "trial 1 is better than the paper's setting: heldout_mlm_loss 2.9933 instead of 3.1000" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "| the paper's setting | 2.00 | 5.00 / – / – | 3.1000 | 3 |",
        "| **trial 1** | 3.00 | 5.00 / – / – | 2.9933 | 3 |",
    ]
    for command in ("distil tune demo --trials 3", "distil run demo --from-search m1"):
        assert f"```sh\n{command}\n```" in text


def test_description_of_a_search_in_which_nothing_was_confirmed_still_has_the_paper() -> None:
    text = concluded(replace(SEARCH, confirmed=(PAPER,)), "demo", "distil tune demo", "distil run demo")
    assert "nothing to confirm" in text
    assert "| **the paper's setting** | 2.00 |" in text
