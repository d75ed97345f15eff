"""Whether a student is worse on tasks than the model in whose place it would come."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.context import StageContext
from stages.storage import Folder
from stages.tasks.artifact import STUDENT, TaskTable
from stages.tasks.comparison.fits import Candidate
from stages.tasks.comparison.intervals import interval_of, resampled
from stages.tasks.comparison.waves import bench_of, fit_all
from stages.tasks.config import TasksConfig
from stages.tasks.data.specs import task_of
from stages.tasks.fine_tuning.answers import as_predicted

INCUMBENT = "incumbent"


def lower_on(
    config: TasksConfig, table: TaskTable, names: Sequence[str], folder: Path, mark: str, context: StageContext
) -> str:
    """The first of the tasks `names` on which the student is lower than the model in `folder`, beyond the 95 % interval
    of the difference, as a part of a sentence; empty where there is none.

    That model is fine-tuned as the student was; `mark` tells its weights from others', so that what was done once is
    not done again.
    """
    specs = tuple(spec for spec in config.tasks if task_of(spec).name in names)
    config = replace(config, tasks=specs, second_step=None, baselines=())
    bench = bench_of(config, context)
    incumbent = Candidate(name=INCUMBENT, folder=Folder(str(folder)), mark=mark)
    by_task = fit_all(bench, config, [incumbent])
    answers = json.loads(table.folder.read_bytes("answers.json"))
    for name, fitted in by_task.items():
        labelled = bench.labelled[name]
        said = {STUDENT: answers[name][STUDENT], INCUMBENT: [out.predicted for _, out in fitted[INCUMBENT]]}
        as_scored = {model: [as_predicted(one, labelled.task.kind) for one in each] for model, each in said.items()}
        drawn = resampled(labelled.task.metrics[0], labelled.dev, as_scored, classes=labelled.classes)
        low, high = interval_of(drawn[STUDENT] - drawn[INCUMBENT])
        if high < 0:
            apart = float(np.median(drawn[STUDENT] - drawn[INCUMBENT]))
            return (
                f"lower on {name} by {-apart:.4f} {labelled.task.metrics[0]} (95 % interval {low:+.4f} to {high:+.4f})"
            )
    return ""
