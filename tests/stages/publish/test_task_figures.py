"""Labelled tasks in a model card: a row each, the hub's own reader finds them, and without any nothing is said."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCard
from labelled import TASKS
from published import report_of, tiny_student
from transformers import DistilBertConfig

from stages.publish.model_card import model_card
from stages.publish.task_figures import task_table


def card_in(folder: Path, **tasks: Any) -> str:
    losses = np.full(40, 2.5)
    return model_card(
        name="mine",
        license="mit",
        language=("en",),
        datasets=(),
        description="",
        config=DistilBertConfig(),
        mask_token="[MASK]",
        positions=32,
        student=tiny_student(folder / "student"),
        report=report_of(folder / "r", losses, losses + 1),
        training={},
        **tasks,
    )


def test_card_has_a_row_for_each_task_with_what_was_kept_and_its_interval(tmp_path: Path) -> None:
    card = card_in(tmp_path, tasks=TASKS)
    tasks = card.split("## Tasks\n")[1].split("## Loading")[0]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in tasks.splitlines() if line.startswith("| ")]
    assert rows == [
        ["task", "metric", "examples", "teacher", "student at step 0", "student", "kept", "95 % interval"],
        ["sst2", "accuracy", "872", "0.9243", "0.8211", "0.9014", "97.5%", "95.8% to 99.0%"],
        ["stsb", "Pearson correlation", "1,500", "0.8800", "0.8211", "0.8600", "97.7%", "95.8% to 99.0%"],
        ["entities", "F1 of spans", "52", "0.9243", "", "0.9014", "97.5%", "80.0% to 108.0%"],
    ]
    assert "1 to 3 seeds" in tasks


def test_card_lists_the_tasks_for_the_hub_beside_the_held_out_figures(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card_in(tmp_path, tasks=TASKS))
    found = ModelCard.load(tmp_path / "README.md").data.eval_results
    tasks = {f.dataset_type: (f.task_type, f.metric_type, f.metric_value) for f in found if f.dataset_type in TASKS}
    assert tasks == {
        "sst2": ("text-classification", "accuracy", 0.9014),
        "stsb": ("text-classification", "pearsonr", 0.86),
        "entities": ("token-classification", "seqeval", 0.9014),
    }
    assert len(found) == len(tasks) + 3


def test_card_without_tasks_is_the_card_of_before(tmp_path: Path) -> None:
    assert card_in(tmp_path / "a") == card_in(tmp_path / "b", tasks={})
    assert "Tasks" not in card_in(tmp_path / "c")
    assert task_table({}) == ""
