"""The shrink stage: a student of some of the teacher's blocks, head included, taught by labels and teacher at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.classifier.answers import ANSWERS, answers_file, digest_of
from stages.classifier.artifact import Chosen, Classifier, ClassifierScore, Shrunk
from stages.classifier.config import ShrinkConfig
from stages.classifier.labels import matched_to
from stages.classifier.teaching.tries import Tries, best
from stages.classifier.teaching.work import Fitted, latencies, learned_from, opened
from stages.context import StageContext, stage
from stages.distillation.families.table import family_of
from stages.distillation.models.layers import Layers
from stages.distillation.models.parts import parameter_count
from stages.distillation.models.student import take_blocks
from stages.errors import ConfigError, InputError
from stages.storage import Folder
from stages.tasks.artifact import STUDENT, TEACHER
from stages.tasks.comparison.fits import capped, settings_of
from stages.tasks.comparison.intervals import interval_of, kept_of, resampled
from stages.tasks.comparison.run_fits import remote, taken
from stages.tasks.comparison.work import arithmetic_of
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.tasks.examples import Examples, Labelled, Questions, Words
from stages.tasks.fine_tuning.answers import as_predicted
from stages.tasks.metrics import score


@dataclass(frozen=True, kw_only=True)
class _Start:
    """The student before it learns."""

    folder: Folder
    layers: tuple[int, ...]
    parameters: int


@stage(name="shrink", version=1)
def shrink(config: ShrinkConfig, teacher: Classifier, context: StageContext) -> Shrunk:
    """Make the student, teach it with each setting, then with each seed in the best one, and keep the best of all.

    What is best is decided on a part of train: dev is what is reported, and chooses nothing. Every fine-tuning is a Ray
    task whose model is kept as it ends, so that a call which was cut short goes on. Raises `InputError` for a task that
    is not the teacher's.
    """
    found = matched_to(load(task_of(config.task), seed=context.seed), teacher)
    labelled, rules = capped(found.labelled, config.fine_tuning, context.seed), config.fine_tuning
    tries = Tries(config, labelled, context)
    theirs = tries.teacher(teacher)
    if found.guessed:
        _refuse_stranger(labelled, theirs, teacher)
    start = _start(config, teacher, labelled, context.folder / "start")
    outcomes = tries.students(start.folder, [(setting, 0) for setting in settings_of(rules)])
    setting, _ = best(outcomes)
    outcomes |= tries.students(start.folder, [(setting, seed) for seed in range(1, rules.seeds)])
    setting, seed = chosen = best(outcomes)
    own, folder = outcomes[chosen], tries.folder(chosen)
    models = {TEACHER: teacher.folder, STUDENT: folder}
    times = taken(remote(replace(rules, cpus=1), latencies).remote(models, tries.reference, config))
    context.folder.write_bytes(ANSWERS, answers_file(labelled.dev, {TEACHER: theirs.predicted, STUDENT: own.predicted}))
    sizes = {TEACHER: teacher.parameters, STUDENT: start.parameters}
    made = Chosen(
        layers=start.layers,
        learning_rate=setting.learning_rate,
        epochs=setting.epochs,
        seed=seed,
        by_seed=tuple(outcomes[setting, one].scores[0] for one in range(rules.seeds) if (setting, one) in outcomes),
    )
    tries.forget(outcomes.keys() - {chosen})
    both = {TEACHER: theirs, STUDENT: own}
    return _beside(config, labelled, both, sizes, times, folder=folder, answers=context.folder, chosen=made)


def chosen_layers(choice: Layers, config: Any) -> tuple[int, ...]:
    """Which blocks of a teacher with this config; raises `ConfigError`."""
    try:
        return family_of(config).choose(choice, config)
    except ConfigError as error:
        raise ConfigError("shrink.layers", error.value, error.rule) from error


def _start(config: ShrinkConfig, teacher: Classifier, labelled: Labelled, folder: Folder) -> _Start:
    """The teacher's blocks under its head; in `folder` with its tokenizer."""
    with teacher.folder.as_local() as local:
        reader = opened(local, labelled.task.kind, config, arithmetic_of(config.fine_tuning))
    layers = chosen_layers(config.layers, reader.model.config)
    student = take_blocks(reader.model.cpu(), layers, dropout=config.fine_tuning.dropout, kind="same")
    with folder.written_locally() as written:
        student.save_pretrained(written)
        reader.tokenizer.save_pretrained(written)
    return _Start(folder=folder, layers=layers, parameters=parameter_count(student))


def _refuse_stranger(labelled: Labelled, theirs: Fitted, teacher: Classifier) -> None:
    """Raise `InputError` for a teacher whose classes were taken in their order, where it knows no more than which is
    the commonest: then another order is meant, or another task."""
    said = as_predicted(theirs.predicted, labelled.task.kind)
    right, commonest = score("accuracy", labelled.dev, said, classes=labelled.classes), _commonest(labelled.dev)
    if right <= commonest:
        raise InputError(
            f"teacher.model {teacher.name} does not name its classes, and taken for {', '.join(labelled.classes)} they "
            f"are right on {right:.1%} of {labelled.task.name}, where the commonest alone would be on {commonest:.1%}; "
            "name them in its config.json (id2label), as the task does."
        )


def _commonest(examples: Examples) -> float:
    """The share of the commonest class."""
    if isinstance(examples, Words):
        numbers = [number for tags in examples.labels for number in tags]
    else:
        assert not isinstance(examples, Questions), "a question has no class"
        numbers = examples.labels.astype(int).tolist()
    counts = np.bincount(numbers)
    return float(counts.max() / counts.sum())


def _beside(
    config: ShrinkConfig,
    labelled: Labelled,
    both: Mapping[str, Fitted],
    sizes: Mapping[str, int],
    times: Mapping[str, float],
    *,
    folder: Folder,
    answers: Folder,
    chosen: Chosen,
) -> Shrunk:
    """Teacher and student in figures, with an interval over dev's examples that both share."""
    task, (learn, kept_back) = labelled.task, learned_from(labelled, config)
    metric, *further = task.metrics
    said = {name: [as_predicted(one.predicted, task.kind)] for name, one in both.items()}
    drawn = resampled(metric, labelled.dev, said, classes=labelled.classes)
    scores = {
        name: ClassifierScore(
            score=one.scores[0],
            others=dict(zip(further, one.scores[1:], strict=True)),
            parameters=sizes[name],
            bytes=4 * sizes[name],
            latency_ms=times[name],
        )
        for name, one in both.items()
    }
    best_possible = scores[TEACHER].score
    return Shrunk(
        folder=folder,
        answers=answers,
        task=task.name,
        kind=task.kind,
        metric=metric,
        classes=labelled.classes,
        train=len(learn),
        chosen_on=0 if kept_back is None else len(kept_back),
        n=len(labelled.dev),
        dev_digest=digest_of(labelled.dev, labelled.classes),
        teacher=scores[TEACHER],
        student=scores[STUDENT],
        kept=scores[STUDENT].score / best_possible if best_possible > 0 else 0.0,
        interval=interval_of(kept_of(drawn[STUDENT], drawn[TEACHER])),
        chosen=chosen,
        notes=(*labelled.notes, *config.fine_tuning.told_of_cut(both[STUDENT].cut, len(learn))),
    )
