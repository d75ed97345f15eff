"""`distil run` in a process of its own, stopped by SIGTERM: early, in the middle of a training, and left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tiny import tiny_bert
from tiny_pipeline import tiny_pipeline, tiny_recipe

from pipeline.config.schema import PipelineConfig, to_yaml
from pipeline.tracking.config import TrackingConfig

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 400, 5


def driver(file: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline.cli.main", "run", "--config", str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, cwd=file.parent, stderr=subprocess.PIPE, text=True)


def group(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """As a terminal that closes, and `kill -- -PGID`."""
    os.killpg(process.pid, number)


def everybody(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """As Slurm's scancel and systemd: whatever session or group a process is in."""
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def told_in_training(
    config: PipelineConfig,
    file: Path,
    tell: Callable[["subprocess.Popen[str]", signal.Signals], None],
    number: signal.Signals,
) -> tuple[int, str, float]:
    """(exit status, what was said, seconds until the end) of a driver that leads a process group of its own."""
    command = [sys.executable, "-m", "pipeline.cli.main", "run", "--config", str(file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, cwd=file.parent, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and len(run_of(config)[2] if recorded(config) else ()) < 3:
        time.sleep(0.2)
    assert process.poll() is None, process.communicate()[1]
    started = time.monotonic()
    tell(process, number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said, time.monotonic() - started


def recorded(config: PipelineConfig) -> bool:
    return (Path(config.workdir) / "run.json").exists()


def terminate_once(process: "subprocess.Popen[str]", ready: Callable[[], bool]) -> tuple[int, str]:
    """(exit status, what was said on standard error) of a driver that gets SIGTERM as soon as `ready`."""
    while process.poll() is None and not ready():
        time.sleep(0.05)
    assert process.poll() is None, f"ended before it could be stopped: {process.communicate()[1]}"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    return process.returncode, said


def run_of(config: PipelineConfig) -> tuple[str, str, list[int]]:
    """(run id, status, steps of the loss) in MLflow."""
    from pipeline.tracking.run import quiet_mlflow

    client = quiet_mlflow().MlflowClient(config.tracking.uri)
    (run,) = client.search_runs(["0", "1"])
    return run.info.run_id, run.info.status, [m.step for m in client.get_metric_history(run.info.run_id, "loss")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_terminated_early_and_in_training_continues_in_one_mlflow_run_without_gap_or_double(
    tmp_path: Path, mlflow_template: Path
) -> None:
    made = tiny_pipeline(tmp_path, mlflow_template)
    distil = replace(made.distil, steps=STEPS, log_every=EVERY, evaluate_every=200, checkpoint_every=200)
    config = replace(made, distil=distil)
    file, work = tmp_path / "mine.yaml", Path(config.workdir)
    file.write_text(to_yaml(config))

    status, said = terminate_once(driver(file), lambda: bool(list(work.glob("corpus/*/record.json"))))
    assert (status, said) == (75, "stopped by SIGTERM; the same command continues\n")
    first, status_there, _ = run_of(config)
    assert status_there == "KILLED"

    status, said = terminate_once(driver(file), lambda: len(run_of(config)[2]) >= 3)
    assert status == 75
    assert said.startswith("stopped by SIGTERM; the same command continues from the checkpoint of step ")
    step = int(said.split()[-1])
    (checkpoint,) = work.glob(f"distil/*/checkpoints/step-{step:08d}")
    assert (checkpoint / "manifest.json").exists()
    run_id, status_there, steps = run_of(config)
    assert (run_id, status_there) == (first, "KILLED")
    assert steps[-1] >= step - EVERY, "what was reported before the end is delivered"

    last = driver(file)
    _, said = last.communicate()
    assert last.returncode == 0, said
    run_id, status_there, steps = run_of(config)
    assert (run_id, status_there) == (first, "FINISHED")
    assert sorted({*steps, step}) == sorted({*range(EVERY, STEPS + 1, EVERY), step})
    assert len(steps) == len(set(steps))
    assert json.loads((work / "run.json").read_text())["mlflow_run_ids"] == [first]


@pytest.fixture
def untaught(tmp_path: Path, mlflow_template: Path) -> PipelineConfig:
    """A long training whose teacher knows nothing: nothing is asked of it."""
    made = tiny_recipe(tmp_path, tiny_bert())
    (tmp_path / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db", system_metrics=False)
    distil = replace(made.distil, steps=4000, log_every=EVERY, evaluate_every=4000, checkpoint_every=4000)
    config = replace(made, distil=distil, tracking=tracking, until="distil")
    (tmp_path / "mine.yaml").write_text(to_yaml(config))
    return config


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_run_whose_whole_process_group_is_told_saves_a_checkpoint_and_ends_within_seconds(
    untaught: PipelineConfig, tmp_path: Path, number: signal.Signals
) -> None:
    status, said, seconds = told_in_training(untaught, tmp_path / "mine.yaml", group, number)
    assert status == 75, said
    assert said.startswith(f"stopped by {number.name}; the same command continues from the checkpoint of step ")
    assert seconds < 30
    step = int(said.split()[-1])
    (checkpoint,) = Path(untaught.workdir).glob(f"distil/*/checkpoints/step-{step:08d}")
    assert (checkpoint / "manifest.json").exists()
    assert run_of(untaught)[1] == "KILLED"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_whose_every_process_is_told_waited_a_minute_for_a_ray_that_was_gone_and_ends_within_seconds(
    untaught: PipelineConfig, tmp_path: Path
) -> None:
    status, said, seconds = told_in_training(untaught, tmp_path / "mine.yaml", everybody, signal.SIGTERM)
    assert (status, said) == (75, "stopped by SIGTERM; the same command continues\n")
    assert seconds < 30
    assert run_of(untaught)[1] == "KILLED"
