"""Does a search find a setting that beats the paper's, what does it spend, and does it survive its driver's death?

    python benchmarks/tune.py [--recipe demo] [--trials 16] [--kill-after N] [--json] [-- --field value ...]

Runs the command that a person runs, `distil tune`, in a fresh workdir, and reads what it recorded. With
`--kill-after N` its process gets SIGKILL once N trials are over, and the same command is given again. Words after `--`
are passed on. With `--json` the last line is one object; the search's own output goes to standard error.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.tracking.config import sqlite_address
from pipeline.tuning.ledger import Ledger
from pipeline.tuning.tracking.which_search import find_search
from stages.storage import Folder

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ended:
    """The processes of the search."""

    seconds: float
    kills: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--kill-after", type=int, metavar="N", help="trials that are over when the driver is killed")
    parser.add_argument("--workdir", type=Path, help="kept afterwards; a temporary one unless given")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("further", nargs="*", help="fields, after --")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workdir = (asked.workdir or Path(temporary) / "search").resolve()
        store = sqlite_address(workdir / "mlflow.db")
        command = [sys.executable, "-m", "pipeline.cli.main", "tune", asked.recipe, "--trials", str(asked.trials)]
        command += ["--workdir", str(workdir), "--tracking.uri", store, *asked.further]
        ended = searched(command, workdir, asked.kill_after)
        found = measured(workdir, store, ended)
    for name, value in {} if asked.json else found.items():
        print(f"{name:24} {value}")
    if asked.json:
        print(json.dumps(found))


def searched(command: Sequence[str], workdir: Path, kill_after: int | None) -> Ended:
    """Run the search to its end, killed once on the way if asked for; raises where it fails."""
    started, kills = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=sys.stderr, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if kill_after is not None:
        while process.poll() is None and over(workdir) < kill_after:
            time.sleep(0.2)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills = 1
        process.wait()
        process = subprocess.Popen(command, stdout=sys.stderr, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if process.wait():
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return Ended(time.monotonic() - started, kills)


def over(workdir: Path) -> int:
    """Trials that are over, by the ledgers in the workdir."""
    folders = (workdir / "search").glob("*/trials")
    return sum(trial.is_over for folder in folders for trial in Ledger(Folder(str(folder))).trials)


def measured(workdir: Path, store: str, ended: Ended) -> dict[str, object]:
    """The search in figures."""
    search = find_search(str(workdir))
    verdict = search.verdict
    if verdict.best is None:
        raise SystemExit("no setting but the paper's came far enough to be confirmed")
    return {
        "trials": len(Ledger(search.folder / "trials").trials),
        "completed": search.completed,
        "failed": search.failed,
        "tokens_spent": search.tokens_spent,
        "full_budget_tokens": search.full_budget_tokens,
        "equivalent_full_trials": search.tokens_spent / search.full_budget_tokens,
        "confirm_tokens": search.confirm_tokens,
        "objective_metric": search.objective,
        "paper_objective": verdict.paper.mean,
        "best_objective": verdict.best.mean,
        "best_trial": verdict.best.trial,
        "best_setting": verdict.best.setting,
        "paper_seeds": list(verdict.paper.values),
        "best_seeds": list(verdict.best.values),
        "gain": verdict.gain,
        "spread": verdict.spread,
        "is_better": verdict.is_better,
        "seconds": ended.seconds,
        "kills": ended.kills,
        "mlflow_trials": children(store, search.mlflow_run_id),
    }


def children(store: str, run_id: str) -> int:
    """Runs right below the search's in MLflow."""
    from pipeline.tracking.run import quiet_mlflow

    client = quiet_mlflow().MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return len(client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{run_id}'"))


if __name__ == "__main__":
    main()
