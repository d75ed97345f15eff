"""The tasks stage: teacher, student and baselines fine-tuned by the same rules, and what was kept (DistilBERT, 4.1)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

import ray

from stages.context import StageContext, stage
from stages.distil.artifact import Student
from stages.storage import Folder
from stages.tasks.artifact import STUDENT, TEACHER, ModelOnTask, TaskResult, TaskTable
from stages.tasks.comparison.fits import Candidate, Fit, capped, finals, grid, settings_of
from stages.tasks.comparison.intervals import interval_of, kept_of, resampled
from stages.tasks.comparison.run_fits import Bench, run_fits
from stages.tasks.comparison.work import Outcome
from stages.tasks.config import FineTuningConfig, TasksConfig
from stages.tasks.data.load import identity, load
from stages.tasks.data.specs import task_of
from stages.tasks.examples import Labelled
from stages.tasks.fine_tuning.answers import as_predicted
from stages.tasks.fine_tuning.learn import Setting
from stages.teacher.artifact import Teacher

SECOND = "student, second step"
START, UNTAUGHT, SAME_TIME = "student at step 0", "without a teacher", "without a teacher, same time"
Fitted = dict[str, list[tuple[Fit, Outcome]]]
"""By model, one a seed."""


@stage(name="tasks", version=1)
def compare_on_tasks(
    config: TasksConfig,
    teacher: Teacher,
    student: Student,
    untaught: Student | None,
    as_long: Student | None,
    context: StageContext,
) -> TaskTable:
    """Fine-tune each model on each task, a setting chosen for it on a part of train, with several seeds; score on dev.

    Every fine-tuning is a Ray task, and is kept as it ends, in `fitted/` beside the stage's folders: a call that was
    cut short goes on, and another comparison under the same root takes what it needs from there. Raises `InputError`
    for a task that cannot be read.
    """
    candidates = list(_candidates(config, teacher, student, untaught, as_long))
    bench = _bench(config, context)
    by_task = _fit_all(bench, config, candidates)
    answers = {
        task: {model: [outcome.predicted for _, outcome in each] for model, each in fitted.items()}
        for task, fitted in by_task.items()
    }
    context.folder.write_bytes("answers.json", json.dumps(answers).encode())
    results = tuple(_result(bench.labelled[task], fitted, config.fine_tuning) for task, fitted in by_task.items())
    return TaskTable(folder=context.folder, results=results)


def _candidates(
    config: TasksConfig, teacher: Teacher, student: Student, untaught: Student | None, as_long: Student | None
) -> Iterator[Candidate]:
    """Folders have their stages' fingerprints in their names: those tell their weights apart."""
    folders = {TEACHER: teacher.folder, STUDENT: student.folder}
    folders |= {START: student.start} if "start" in config.baselines else {}
    folders |= {name: made.folder for name, made in ((UNTAUGHT, untaught), (SAME_TIME, as_long)) if made is not None}
    for name, folder in folders.items():
        yield Candidate(name=name, folder=folder, mark="/".join(folder.uri.rstrip("/").split("/")[-3:]))


def _bench(config: TasksConfig, context: StageContext) -> Bench:
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


def _fit_all(bench: Bench, config: TasksConfig, candidates: Sequence[Candidate]) -> dict[str, Fitted]:
    """Three waves, each of all tasks and models at once: settings are tried, models are fine-tuned, and taught."""
    rules, tasks = config.fine_tuning, list(bench.labelled)
    trials = [fit for task in tasks for candidate in candidates for fit in grid(task, candidate, rules)]
    each = rules.seeds * (len(candidates) + (config.second_step is not None))
    total, done = len(trials) + len(tasks) * each, 0

    def on_done() -> None:
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


def _result(labelled: Labelled, fitted: Fitted, rules: FineTuningConfig) -> TaskResult:
    """What the outcomes say, with intervals over seeds and examples that all models share."""
    metric, *further = labelled.task.metrics
    said = {name: [as_predicted(out.predicted, labelled.task.kind) for _, out in each] for name, each in fitted.items()}
    drawn = resampled(metric, labelled.dev, said, classes=labelled.classes)
    score = {name: median(out.scores[0] for _, out in each) for name, each in fitted.items()}
    models = {}
    for name, each in fitted.items():
        apart = score[name] - score[STUDENT], *interval_of(drawn[name] - drawn[STUDENT])
        models[name] = ModelOnTask(
            score=score[name],
            by_seed=tuple(out.scores[0] for _, out in each),
            others={other: median(out.scores[place] for _, out in each) for place, other in enumerate(further, 1)},
            kept=score[name] / score[TEACHER] if score[TEACHER] > 0 else 0.0,
            interval=interval_of(kept_of(drawn[name], drawn[TEACHER])),
            difference=apart,
            learning_rate=each[0][0].setting.learning_rate,
            epochs=each[0][0].setting.epochs,
            seconds=median(out.seconds for _, out in each),
        )
    cut = max(out.cut for each in fitted.values() for _, out in each)
    long = f"{cut} of {len(labelled.train)} examples were longer than {rules.max_tokens} tokens, or than a model reads."
    return TaskResult(
        name=labelled.task.name,
        metric=metric,
        kind=labelled.task.kind,
        n=len(labelled.dev),
        train=len(labelled.train),
        seeds=rules.seeds,
        teacher=score[TEACHER],
        student=score[STUDENT],
        kept=models[STUDENT].kept,
        interval=models[STUDENT].interval,
        models=models,
        notes=(*labelled.notes, *((long,) if cut else ())),
    )
