"""Labelled tasks in MLflow: below a run, a run for each task and model, with what each seed came to."""

import time
from typing import TYPE_CHECKING, Any

from pipeline.tracking.delivery import first_line
from pipeline.tracking.live_run import LiveRun, legal

if TYPE_CHECKING:
    from stages.tasks.artifact import ModelOnTask, TaskResult, TaskTable

PARENT, FITTED = "mlflow.parentRunId", "fitted"
"""Tags: of which run a run is a child; which task and model it is about."""


def log_task_runs(live: LiveRun, table: "TaskTable") -> None:
    """A child of the run for each task and model; those that are there are left alone. What MLflow does not take is
    among the run's problems: nothing stops for it, and report.json has the figures."""
    import mlflow

    client = mlflow.MlflowClient(live.store.uri)
    try:
        there = client.search_runs([live.experiment_id], f"tags.`{PARENT}` = '{live.run_id}'", max_results=1000)
        known = {run.data.tags.get(FITTED) for run in there}
        for task in table.results:
            for name, model in task.models.items():
                title = f"{task.name}: {name}"
                if title not in known:
                    _log(client, live, title, task, model)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        live.problems.append(f"the tasks' own runs are not all there: {first_line(error)}")


def _log(client: Any, live: LiveRun, title: str, task: "TaskResult", model: "ModelOnTask") -> None:
    """Its score by seed, where a curve has steps; and the figures to sort by."""
    from mlflow.entities import Metric, Param

    now, (low, high) = int(time.time() * 1000), model.interval
    tags = {PARENT: live.run_id, FITTED: title, "kind": "task", "task": task.name}
    run = client.create_run(live.experiment_id, tags=tags, run_name=title)
    final = {"score": model.score, "kept": model.kept, "kept_low": low, "kept_high": high, "seconds": model.seconds}
    final |= model.others
    by_seed = [Metric(legal(task.metric), value, now, seed) for seed, value in enumerate(model.by_seed)]
    ends = [Metric(legal(f"final/{name}"), value, now, 0) for name, value in final.items()]
    settings = {
        "learning_rate": model.learning_rate,
        "epochs": model.epochs,
        "train_examples": task.train,
        "dev_examples": task.n,
        "metric": task.metric,
    }
    params = [Param(name, str(value)) for name, value in settings.items()]
    client.log_batch(run.info.run_id, metrics=[*by_seed, *ends], params=params)
    client.set_terminated(run.info.run_id)
