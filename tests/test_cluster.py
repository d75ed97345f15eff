"""The whole of it: a real two-node Ray with a token, MLflow, jobs through the job API, and a node that is killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_run_on_two_nodes_one_of_them_killed_ends_with_the_loss_of_one_undisturbed() -> None:
    done = subprocess.run([sys.executable, ROOT / "tests" / "cluster_run.py"], capture_output=True, text=True)
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["doctor_passed"]
    assert outcome["nodes_trained"] == 2
    assert 0 < outcome["killed_at_step"] < 60
    assert outcome["finished"]
    assert outcome["refused_without_token"]
    assert outcome["loss_killed"] == pytest.approx(outcome["loss_undisturbed"], rel=1e-4)
    assert done.returncode == 0
