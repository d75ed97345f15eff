"""The tasks stage: teacher, student and baselines fine-tuned by the same rules, and what was kept (DistilBERT, 4.1)."""

import json
from collections.abc import Iterator
from statistics import median

from stages.context import StageContext, stage
from stages.distil.artifact import Student
from stages.tasks.artifact import STUDENT, TEACHER, ModelOnTask, TaskResult, TaskTable
from stages.tasks.comparison.fits import Candidate
from stages.tasks.comparison.intervals import interval_of, kept_of, resampled
from stages.tasks.comparison.waves import Fitted, bench_of, fit_all
from stages.tasks.config import FineTuningConfig, TasksConfig
from stages.tasks.examples import Labelled
from stages.tasks.fine_tuning.answers import as_predicted
from stages.teacher.artifact import Teacher

START, UNTAUGHT, SAME_TIME = "student at step 0", "without a teacher", "without a teacher, same time"


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
    bench = bench_of(config, context)
    by_task = fit_all(bench, config, candidates)
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
        notes=(*labelled.notes, *rules.told_of_cut(cut, len(labelled.train))),
    )
