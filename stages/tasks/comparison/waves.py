"""All fine-tunings of a comparison, in three waves: settings are tried, models are fine-tuned, and taught."""

from collections.abc import Sequence
from dataclasses import replace

import ray

from stages.context import StageContext
from stages.storage import Folder
from stages.tasks.artifact import STUDENT, TEACHER
from stages.tasks.comparison.fits import Candidate, Fit, capped, finals, grid, settings_of
from stages.tasks.comparison.run_fits import Bench, run_fits
from stages.tasks.comparison.work import Outcome
from stages.tasks.config import FineTuningConfig, TasksConfig
from stages.tasks.data.load import identity, load
from stages.tasks.data.specs import task_of
from stages.tasks.fine_tuning.learn import Setting

SECOND = "student, second step"
Fitted = dict[str, list[tuple[Fit, Outcome]]]
"""By model, one a seed."""


def bench_of(config: TasksConfig, context: StageContext) -> Bench:
    """All tasks, read before anything is fine-tuned."""
    labelled, data = {}, {}
    for spec in config.tasks:
        task = task_of(spec)
        labelled[task.name] = capped(load(task, seed=context.seed), config.fine_tuning, context.seed)
        caps = {name: str(getattr(config.fine_tuning, name)) for name in ("train_examples", "dev_examples")}
        data[task.name] = identity(task) | caps | {"task": repr(task), "seed": str(context.seed)}
    return Bench(
        config=config.fine_tuning,
        kept=Folder(context.folder.uri.rsplit("/", 1)[0]) / "fitted",
        data=data,
        labelled=labelled,
        references={name: ray.put(one) for name, one in labelled.items()},
        context=context,
    )


def fit_all(bench: Bench, config: TasksConfig, candidates: Sequence[Candidate]) -> dict[str, Fitted]:
    """Three waves, each of all tasks and models at once: settings are tried, models are fine-tuned, and taught."""
    rules, tasks = config.fine_tuning, list(bench.labelled)
    trials = [fit for task in tasks for candidate in candidates for fit in grid(task, candidate, rules)]
    each = rules.seeds * (len(candidates) + (config.second_step is not None))
    total, done = len(trials) + len(tasks) * each, 0

    def on_done() -> None:
        """One more of them has ended."""
        nonlocal done
        done += 1
        bench.context.on_progress(done, total, "fine-tunings")

    tried = run_fits(bench, trials, on_done)
    keeps = config.second_step is not None
    wanted = [
        fit
        for task in tasks
        for candidate in candidates
        for fit in finals(
            task, candidate, _chosen(tried, task, candidate, rules), rules, keeps and candidate.name == TEACHER
        )
    ]
    fitted = run_fits(bench, wanted, on_done)
    if config.second_step is not None:
        taught = [_second(config, fit, wanted) for fit in wanted if fit.candidate.name == STUDENT]
        wanted += taught
        fitted |= run_fits(bench, taught, on_done)
    found: dict[str, Fitted] = {task: {} for task in tasks}
    for fit in wanted:
        found[fit.task].setdefault(fit.candidate.name, []).append((fit, fitted[fit]))
    return found


def _chosen(tried: dict[Fit, Outcome], task: str, candidate: Candidate, rules: FineTuningConfig) -> Setting:
    """The setting with the best score on the part of train that was kept back; of equals the first."""
    scores = {
        fit.setting: out.scores[0] for fit, out in tried.items() if (fit.task, fit.candidate) == (task, candidate)
    }
    return max(settings_of(rules), key=lambda setting: scores.get(setting, 0.0))


def _second(config: TasksConfig, student: Fit, fits: Sequence[Fit]) -> Fit:
    """The student's fine-tuning, with the teacher's of the same seed behind it."""
    teacher = next(
        fit for fit in fits if fit.candidate.name == TEACHER and (fit.task, fit.seed) == (student.task, student.seed)
    )
    named = replace(student.candidate, name=SECOND)
    return replace(student, candidate=named, taught_by=teacher, second_step=config.second_step)
