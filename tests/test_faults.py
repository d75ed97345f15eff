"""A worker, the driver and a node killed in the middle of a run on two nodes: the long version of the other tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_faults_a_worker_the_driver_and_a_node_killed_end_in_the_run_that_was_left_in_peace() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "faults.py"), "--kills", "3", "--steps", "300", "--json"]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.stdout, said.stderr[-2000:]
    found = json.loads(said.stdout.splitlines()[-1])
    assert found["kills"] == {"worker": 1, "driver": 1, "node": 1}
    assert (found["finished"], found["bit_identical"]) == (True, True)
    zeros = ("rows_repeated", "rows_skipped", "lost_steps", "mlflow_gaps", "mlflow_duplicates")
    assert {name: found[name] for name in zeros} == dict.fromkeys(zeros, 0)
    assert found["recomputed_steps"] <= found["recomputed_steps_allowed"]
    assert said.returncode == 0
