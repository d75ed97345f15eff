"""What a night's benchmarks leave in MLflow, beside the same figures written down by hand."""

import json
import sys
from pathlib import Path

import pytest

from pipeline.tracking.store import TrackingConfig
from stages.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from record import changes, figures, read, record

STEP = {
    "device": "cpu",
    "threads": 2,
    "demo": {"ours": {"tokens_per_second": 4100.5, "peak_mb": 12}, "vs_fp32": 3.5, "note": None},
    "seeds": [0.5, 0.25],
    "bit_identical": True,
}
EXPECTED = {
    "step/threads": 2.0,
    "step/demo/ours/tokens_per_second": 4100.5,
    "step/demo/ours/peak_mb": 12.0,
    "step/demo/vs_fp32": 3.5,
    "step/seeds/0": 0.5,
    "step/seeds/1": 0.25,
    "step/bit_identical": 1.0,
}


def test_figures_are_every_number_by_its_path_and_nothing_else() -> None:
    assert dict(figures(STEP, "step")) == EXPECTED


def test_read_takes_the_last_line_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text(f"a word before\n{json.dumps(STEP)}\n")
    (tmp_path / "scale.json").write_text('{"gpus": 8}')
    assert read(tmp_path) == {"scale/gpus": 8.0, **EXPECTED}


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):"])
def test_read_of_a_benchmark_that_failed_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "faults.json").write_text(text)
    with pytest.raises(InputError, match=r"faults\.json is no JSON"):
        read(tmp_path)


def test_read_of_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no figures"):
        read(tmp_path)


def test_record_twice_is_two_runs_of_one_experiment_and_the_second_is_told_of_the_first(mlflow_store: str) -> None:
    from pipeline.tracking.run import quiet_mlflow

    config = TrackingConfig(uri=mlflow_store)
    first, nothing = record(EXPECTED, "nightly", config)
    slower = EXPECTED | {"step/demo/ours/tokens_per_second": 3000.0, "step/threads": 2.1}
    second, before = record(slower, "nightly", config)
    assert (nothing, before) == ({}, EXPECTED)
    assert changes(before, slower) == ["step/demo/ours/tokens_per_second: 4,100 → 3,000"]
    client = quiet_mlflow().MlflowClient(mlflow_store)
    place = client.get_experiment_by_name("nightly").experiment_id
    assert {run.info.run_id for run in client.search_runs([place])} == {first, second}
    found = client.get_run(second)
    assert (found.data.metrics, found.info.status) == (slower, "FINISHED")
    assert {"machine", "commit", "dirty"} <= set(found.data.tags)
