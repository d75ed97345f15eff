"""The gate's question about tasks: a student's answers beside a model that is fine-tuned for it now."""

import json
from pathlib import Path

import numpy as np
import pytest
from published import tiny_tokenizer
from tiny import WORDS, tiny_bert

from stages.context import StageContext
from stages.storage import Folder
from stages.tasks.artifact import TaskTable
from stages.tasks.config import FineTuningConfig, SecondStepConfig, TasksConfig
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.tasks.incumbent import lower_on


@pytest.mark.timeout(400)
def test_lower_on_a_task_where_every_answer_is_wrong_and_on_none_where_every_one_is_right(
    tmp_path: Path, ray_session: None
) -> None:
    tiny_bert(scale=0.05).save_pretrained(tmp_path / "champion")
    tiny_tokenizer(WORDS).save_pretrained(tmp_path / "champion")
    half = {word: "low" if number < 20 else "high" for number, word in enumerate(WORDS)}
    rows = [f"{word} {other},{half[word]}" for word in WORDS for other in WORDS[:4]]
    specs = []
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
        specs.append(f"{tmp_path}/{name}.csv:text=text,label=label")
    rules = FineTuningConfig(seeds=2, learning_rates=(3e-3,), epochs=(3,), batch=8, precision="fp32")
    config = TasksConfig(
        tasks=tuple(specs), fine_tuning=rules, second_step=SecondStepConfig(alpha=0.5), baselines=("start",)
    )
    labels = load(task_of(specs[0]), seed=0).dev.labels  # type: ignore[union-attr]
    context = StageContext(folder=Folder(str(tmp_path / "tasks" / "f1")), seed=0)

    def answered(one: np.ndarray, two: np.ndarray) -> TaskTable:
        said = {name: {"student": [answers.tolist()] * 2} for name, answers in (("one", one), ("two", two))}
        context.folder.write_bytes("answers.json", json.dumps(said).encode())
        return TaskTable(folder=context.folder, results=())

    def asked(table: TaskTable, *names: str) -> str:
        return lower_on(config, table, names, tmp_path / "champion", "weights", context)

    assert asked(answered(labels, labels), "one", "two") == ""
    fitted = {file: file.stat().st_mtime_ns for file in (tmp_path / "tasks" / "fitted").iterdir()}
    assert len(fitted) == 4
    bad = answered(labels, 1 - labels)
    assert asked(bad, "two").startswith("lower on two by ")
    assert asked(bad, "one") == ""
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "tasks" / "fitted").iterdir()} == fitted
