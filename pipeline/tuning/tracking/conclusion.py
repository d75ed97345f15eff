"""What came of a search, in MLflow: the setting to take, the figures that led to it, every trial in a table, the plots.

On the search's own run, whose children are `runs.py`'s. What could not be recorded is in `problems`, as it is there.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.config.overrides import Scalar
from pipeline.config.serialisation import to_plain
from pipeline.tracking.live_run import LiveRun
from pipeline.tuning.ledger import Trial
from pipeline.tuning.tracking.attempt import attempt
from pipeline.tuning.verdict import Search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = "trials.json"
SEARCH = "search.json"
"""From which another machine's `distil run --from-search` takes the setting."""


def log_search(live: LiveRun, trials: Sequence[Trial], search: Search, figures: "Iterable[tuple[str, Figure]]") -> None:
    """On the search's own run: the setting to take, the figures that led to it, every trial in a table, the plots.

    `figures`: (file name, figure).
    """
    from mlflow import MlflowClient

    client: Any = MlflowClient(live.store.uri)
    columns = _table(trials, search.objective)
    record = to_plain(search) | {"verdict": to_plain(search.verdict)}
    live.log_metrics(0, {f"final/{name}": value for name, value in _final(search).items()})
    for what, action in (
        ("the best setting", lambda: _log_best(client, live.run_id, search)),
        (TABLE, lambda: _log_table(client, live.run_id, columns)),
        ("trials.csv", lambda: client.log_text(live.run_id, _as_csv(columns), "trials.csv")),
        (SEARCH, lambda: client.log_dict(live.run_id, record, SEARCH)),
        ("the plots", lambda: _log_figures(live, client, figures)),
    ):
        attempt(live, what, action)


def _table(trials: Sequence[Trial], objective: str) -> dict[str, list[Scalar]]:
    """A row a trial, by columns; None where a trial has no such field, or no value that is a number."""
    fields = list(dict.fromkeys(field for trial in trials for field in trial.setting))
    return {
        "trial": [trial.number for trial in trials],
        "state": [trial.state for trial in trials],
        objective: [_finite(trial.objective(objective)) for trial in trials],
        **{field: [trial.setting.get(field) for trial in trials] for field in fields},
        "tokens": [trial.tokens for trial in trials],
        "seconds": [round(trial.seconds, 1) for trial in trials],
        "why": [trial.why for trial in trials],
        "run_id": [trial.run_id for trial in trials],
    }


def _final(search: Search) -> dict[str, float]:
    verdict = search.verdict
    counts = ("tokens_spent", "full_budget_tokens", "confirm_tokens", "trials", "failed")
    return {
        "paper_objective": verdict.paper.mean,
        **({"best_objective": verdict.best.mean} if verdict.best else {}),
        "gain": verdict.gain,
        "spread": verdict.spread,
        **({"gain_low": verdict.low, "gain_high": verdict.high, "p_value": verdict.p_value} if verdict.best else {}),
        **{name: getattr(search, name) for name in counts},
    }


def _log_best(client: Any, run_id: str, search: Search) -> None:
    from mlflow.entities import Param, RunTag

    winner = search.verdict.winner
    known = client.get_run(run_id).data.params  # a parameter is written once
    best = {f"best.{field}": str(value) for field, value in winner.setting.items()}
    tags = {
        "objective": search.objective,
        "verdict": f"{'better' if search.verdict.is_better else 'no better'} than the paper's",
        "winner_trial": str(winner.trial),
    }
    client.log_batch(
        run_id,
        params=[Param(name, value) for name, value in best.items() if name not in known],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )


def _log_table(client: Any, run_id: str, columns: Mapping[str, Sequence[Scalar]]) -> None:
    """As MLflow's page of a run shows it; over an earlier one, to which MLflow's own call would append."""
    if any(file.path == TABLE for file in client.list_artifacts(run_id)):
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        client.log_dict(run_id, {"columns": list(columns), "data": rows}, TABLE)
    else:
        client.log_table(run_id, dict(columns), TABLE)


def _log_figures(live: LiveRun, client: Any, figures: "Iterable[tuple[str, Figure]]") -> None:
    for name, figure in figures:
        attempt(live, name, partial(client.log_figure, live.run_id, figure, f"plots/{name}"))


def _as_csv(columns: Mapping[str, Sequence[Scalar]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
