"""The inference benchmark: sizes that are known, lengths as the data set has them, one object as its last line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from published import tiny_student
from transformers import AutoModelForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import inference
from inference import STSB, lengths, random_configs, size


def asked(*words: str) -> dict[str, object]:
    """The last line of what it prints."""
    command = [sys.executable, inference.__file__, "--texts", "6", "--rounds", "1", "--threads", "1", "--json", *words]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def test_random_models_have_the_sizes_of_the_published_ones() -> None:
    with torch.device("meta"):
        configs = random_configs(layers=12, width=768, heads=12, vocabulary=30_522)
        sizes = [size(AutoModelForSequenceClassification.from_config(config)) for config in configs]
    assert sizes == [(109_483_778, 437_935_112), (66_955_010, 267_820_040)]


def test_lengths_are_those_of_the_data_set_for_any_number_of_texts() -> None:
    for texts in (50, 300, 1500):
        found = lengths(texts)
        assert len(found) == texts
        assert np.mean(found) == pytest.approx(31.5, abs=0.5)
        assert (min(found) >= STSB[0], max(found) <= STSB[-1]) == (True, True)
        assert abs(np.corrcoef(found, np.arange(texts))[0, 1]) < 0.3


def test_benchmark_prints_one_object_with_ratios_and_the_figures_under_them() -> None:
    found = asked("--layers", "2", "--width", "16", "--heads", "2", "--vocabulary", "99")
    under = found["classification"]
    assert isinstance(under, dict)
    assert found["size_ratio"] == under["student"]["parameters"] / under["teacher"]["parameters"]
    for key in ("speedup_batch1", "speedup_throughput"):
        assert found[key] == under[key] > 0
    assert set(under["student"]) == {"parameters", "bytes", "seconds_a_pass", "ms_a_text", "texts_per_second"}
    assert set(found) >= {"masked_lm", "texts", "rounds", "threads", "load_before", "mean_tokens"}


def test_benchmark_takes_the_folders_of_a_run_whatever_they_read_at_most(tmp_path: Path) -> None:
    folders = [str(tiny_student(tmp_path / name).folder.path) for name in ("teacher", "student")]
    found = asked("--teacher", folders[0], "--student", folders[1])
    assert found["size_ratio"] == 1
    with pytest.raises(subprocess.CalledProcessError):
        asked("--teacher", folders[0])
