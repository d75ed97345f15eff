"""deploy/slurm.sh under a stand-in for Slurm: what it starts, whom it tells to stop, and when it queues the job again.

Slurm and Ray's cluster are stood in for by a few lines of shell; that `ray symmetric-run` takes these arguments is
asked of Ray itself.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.scripts.symmetric_run import curate_and_validate_ray_start_args, symmetric_run

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "deploy" / "slurm.sh"

STAND_INS = {
    # Slurm starts one of these on each node; the stand-in has one node.
    "srun": """
        while [[ "$1" == --* ]]; do shift; done
        trap 'kill "$task"' TERM
        "$@" & task=$!
        wait $task; exit "${SRUN_ENDS_WITH:-$?}"
    """,
    "scontrol": 'echo "scontrol $*" >> "$LOG"',
    # Ray's own: a token where there is none yet, and what stands behind "--", on the head.
    "ray": """
        echo "ray $*" >> "$LOG"
        [ "$1" = symmetric-run ] || exit 0
        echo starting >> "$LOG"; sleep "${STARTS_FOR:-0}"
        while [ "$1" != -- ]; do shift; done; shift
        "$@" && status=0 || status=$?
        exit $status
    """,
    # The product: told to stop, it writes a checkpoint and ends with 75.
    "distil": """
        echo "distil $* at $RAY_ADDRESS by $RAY_AUTH_MODE" >> "$LOG"
        trap 'echo checkpoint >> "$LOG"; exit 75' TERM
        echo up >> "$LOG"
        for ((i = 0; i < ${RUNS_FOR:-100}; i++)); do sleep 0.1; done
        exit "${ENDS_WITH:-0}"
    """,
}


@contextmanager
def job(tmp_path: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The script as Slurm runs it on the first of two nodes, and the log of what was called."""
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    log.touch()
    slurm = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "16", "SLURM_GPUS_ON_NODE": "4"}
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log), "HEAD_IP": "10.0.0.1", **slurm, **variables}
    command = ["bash", str(SCRIPT), "demo", "--workdir", "/shared/my runs"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, text=True, stderr=subprocess.PIPE)
    try:
        yield process, log
    finally:
        process.kill()


def wait_for(word: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while word not in log.read_text().splitlines():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def test_slurm_run_starts_ray_on_all_nodes_and_distil_on_the_first(tmp_path: Path) -> None:
    with job(tmp_path, RUNS_FOR="0") as (process, log):
        assert process.wait(20) == 0
    said = log.read_text()
    assert "symmetric-run --address 10.0.0.1:6379 --min-nodes 2 --num-cpus 16 --num-gpus 4 -- " in said
    assert "distil run demo --workdir /shared/my runs at 10.0.0.1:6379 by token" in said
    assert "scontrol" not in said


@pytest.mark.parametrize(("notice", "requeued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_slurm_notice_has_a_checkpoint_written_and_the_time_limit_s_queues_the_job_again(
    tmp_path: Path, notice: signal.Signals, requeued: bool
) -> None:
    with job(tmp_path) as (process, log):
        wait_for("up", log)
        process.send_signal(notice)
        assert process.wait(20) == 75
    said = log.read_text().splitlines()
    assert "checkpoint" in said
    assert ("scontrol requeue 17" in said) == requeued


def test_slurm_notice_while_ray_still_starts_queues_the_job_again(tmp_path: Path) -> None:
    with job(tmp_path, STARTS_FOR="5") as (process, log):
        wait_for("starting", log)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20) != 0
    said = log.read_text().splitlines()
    assert "scontrol requeue 17" in said
    assert "up" not in said


def test_slurm_driver_s_status_counts_however_other_nodes_ended(tmp_path: Path) -> None:
    with job(tmp_path, SRUN_ENDS_WITH="137") as (process, log):
        wait_for("up", log)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20) == 75
    assert "scontrol requeue 17" in log.read_text()


@pytest.mark.parametrize("status", ["1", "2", "75"])
def test_slurm_run_that_ends_by_itself_is_not_queued_again(tmp_path: Path, status: str) -> None:
    with job(tmp_path, RUNS_FOR="0", ENDS_WITH=status) as (process, log):
        assert process.wait(20) == int(status)
    assert "scontrol" not in log.read_text()


def test_slurm_script_s_options_are_of_the_kind_that_the_script_relies_on() -> None:
    options = re.findall(r"^#SBATCH (\S+)$", SCRIPT.read_text(), re.MULTILINE)
    assert {"--exclusive", "--ntasks-per-node=1", "--requeue", "--open-mode=append"} <= set(options)
    assert "--signal=B:USR1@300" in options  # B: to the script alone
    head, _, body = SCRIPT.read_text().partition("set -euo pipefail")
    assert all(line.startswith("#") for line in head.splitlines())  # Slurm reads no option behind the first command
    assert "#SBATCH" not in body


def test_slurm_script_s_arguments_are_those_of_ray_symmetric_run() -> None:
    assert {"address", "min_nodes"} <= {parameter.name for parameter in symmetric_run.params}
    start = ["--num-cpus", "16", "--num-gpus", "4"]
    assert curate_and_validate_ray_start_args(["--address", "10.0.0.1:6379", "--min-nodes", "2", *start]) == start
