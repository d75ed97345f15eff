"""A search whose driver is interrupted, terminated, killed, and then left alone: the same command four times."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_pipeline import tiny_pipeline

from pipeline.config.schema import PipelineConfig, to_yaml
from pipeline.tuning.config import TuneConfig
from pipeline.tuning.ledger import Ledger, Trial
from pipeline.tuning.tracking.which_search import find_search
from stages.storage import Folder

ROOT = Path(__file__).resolve().parents[2]


def trials(config: PipelineConfig) -> list[Trial]:
    """All that are in the workdir's ledgers, so far."""
    folders = (Path(config.workdir) / "search").glob("*/trials")
    return [trial for folder in folders for trial in Ledger(Folder(str(folder))).trials]


def driver(file: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pipeline.cli.main", "tune", "--config", str(file)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=file.parent)


def end_once_over(process: "subprocess.Popen[bytes]", config: PipelineConfig, number: int, sign: int) -> int:
    """Send the signal once `number` trials are over; the exit status."""
    while process.poll() is None and sum(trial.is_over for trial in trials(config)) < number:
        time.sleep(0.1)
    assert process.poll() is None, "the search ended before it could be stopped"
    process.send_signal(sign)
    return process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_tune_interrupted_after_two_terminated_after_four_killed_after_five_ends_with_exactly_sixteen_trials(
    tmp_path: Path, mlflow_template: Path
) -> None:
    from pipeline.tracking.run import quiet_mlflow

    made = tiny_pipeline(tmp_path, mlflow_template)
    config = replace(made, distil=replace(made.distil, steps=80), tune=TuneConfig(evaluate_blocks=20))
    file = tmp_path / "mine.yaml"
    file.write_text(to_yaml(config))
    mlflow = quiet_mlflow().MlflowClient(config.tracking.uri)

    assert end_once_over(driver(file), config, 2, signal.SIGINT) == 130
    after_interrupt = [trial for trial in trials(config) if trial.is_over]
    parent = mlflow.search_runs(["0", "1"], "tags.workdir != ''")[0]
    assert parent.info.status == "KILLED"
    assert end_once_over(driver(file), config, 4, signal.SIGTERM) == 75
    assert mlflow.get_run(parent.info.run_id).info.status == "KILLED"
    assert end_once_over(driver(file), config, 5, signal.SIGKILL) == -signal.SIGKILL
    after_kill = [trial for trial in trials(config) if trial.is_over]
    assert driver(file).wait() == 0

    ended = trials(config)
    assert [trial.number for trial in ended] == list(range(16))
    assert all(trial.is_over for trial in ended)
    for trial in [*after_interrupt, *after_kill]:  # what was finished is as it was
        assert ended[trial.number] == trial
    search = find_search(config.workdir)
    assert search.mlflow_run_id == parent.info.run_id
    assert search.tokens_spent <= 5 * search.full_budget_tokens
    children = mlflow.search_runs(["0", "1"], f"tags.`mlflow.parentRunId` = '{search.mlflow_run_id}'")
    assert {run.info.run_id for run in children} == {trial.run_id for trial in ended}
    assert len(children) == 16
    assert {run.info.status for run in children} == {"FINISHED"}
    for trial in ended:
        steps = [metric.step for metric in mlflow.get_metric_history(trial.run_id, "loss")]
        assert steps == [report.step for report in trial.reports]
