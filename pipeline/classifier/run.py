"""`distil task` as ordinary code: read `graph` once and know the product."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.classifier.config import TaskConfig, parameters
from pipeline.classifier.register import register
from pipeline.classifier.report import TaskReport, read_task_report, write_task_report
from pipeline.classifier.shown import page_of, show
from pipeline.cli.console import Console
from pipeline.config.preflight import check_storage
from pipeline.config.schema import to_yaml
from pipeline.config.secrets import check_secrets
from pipeline.config.serialisation import to_plain
from pipeline.records.outcome import interrupted, where_recorded
from pipeline.records.owed import catch_up
from pipeline.records.pins import Pins, pinned_model
from pipeline.records.report import Folders
from pipeline.records.reuse import Reuse, Silent, StageResult
from pipeline.records.workdir import CONFIG, RunFile, begin_run, check_writable, end_run
from pipeline.runtime.cluster import cluster, has_other_machines, is_gone
from pipeline.runtime.hardware import hardware
from pipeline.runtime.lock import alone
from pipeline.runtime.signals import StopSignal, stopping
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import command_line
from pipeline.tracking.run import RunAbout
from pipeline.tracking.run import run as tracked
from pipeline.tracking.store import check as check_tracking
from pipeline.tracking.store import store_of
from stages.classifier.artifact import Classifier, Shrunk
from stages.classifier.fetch import fetch_classifier, labels_of
from stages.classifier.fitness import check as check_teacher
from stages.classifier.fitness import check_there, is_of_words
from stages.classifier.labels import matched
from stages.classifier.publish import publish_classifier
from stages.classifier.stage import chosen_layers, shrink
from stages.errors import ConfigError, InputError
from stages.publish.artifact import Published
from stages.tasks.checks import identity as tasks_identity
from stages.tasks.data.load import load
from stages.tasks.data.specs import task_of
from stages.teacher import source as teachers


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a run has made, or would make."""

    teacher: StageResult[Classifier]
    shrunk: StageResult[Shrunk]
    published: StageResult[Published]

    def all(self) -> tuple[StageResult[Classifier] | StageResult[Shrunk] | StageResult[Published], ...]:
        """In order."""
        return self.teacher, self.shrunk, self.published


def graph(step: Reuse, config: TaskConfig) -> Made:
    """The whole of it. Every line reuses its record when nothing that bears on it has changed."""
    outside = teachers.identity(config.teacher.as_teacher)
    teacher = step(fetch_classifier, config.teacher, seeded=False, outside=outside)
    shrunk = step(shrink, config.shrink, teacher, outside=tasks_identity([config.shrink.task]))
    published = step(publish_classifier, config.publish, teacher, shrunk, seeded=False)
    return Made(teacher=teacher, shrunk=shrunk, published=published)


def run(config: TaskConfig, console: Console, *, refresh: bool = False) -> Made:
    """Make the smaller model, record it in MLflow and in the workdir, and show what came out.

    Raises what `pipeline.run.run` does.
    """
    check_secrets(config, os.environ)
    workdir = check_writable(config.workdir)
    check_storage(config)
    refuse_other_run(workdir)
    check_there(config.teacher)
    config, pins = pinned(config, workdir, console, refresh=refresh)
    before = interrupted(config, workdir)
    goes_on = before.mlflow_run_ids[-1] if before is not None and before.mlflow_run_ids else None
    catch_up(workdir, console.say, run_id=goes_on)
    with stopping() as stop, alone(workdir, config.root, stop.lose):
        pins.write(workdir)
        return _run(config, workdir, console, stop, before)


def _run(config: TaskConfig, workdir: Path, console: Console, stop: StopSignal, before: RunFile | None) -> Made:
    """`before`: the run with this config that has not come to its end."""
    plan = graph(Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True), config)
    report, tracking = read_task_report(workdir), where_recorded(config.tracking, before)
    whole = all(made.reused for made in plan.all())
    if whole and before is None and report is not None and report.fingerprint == plan.published.fingerprint:
        for one in plan.all():
            console.reused(one)
        show(workdir, console)
        return plan
    if not plan.shrunk.reused:
        preflight(config)
    check_tracking(tracking, workers_elsewhere=False)
    there = before is not None and before.tracking_uri == store_of(tracking).uri
    told = about(config, plan, workdir, before.mlflow_run_ids[-1] if before is not None and there else None)
    with cluster(console.verbose), tracked(tracking, told, console.say) as live:
        stop.listen(is_gone)
        refuse_unseen(config)
        (workdir / CONFIG).write_text(to_yaml(config), encoding="utf-8")
        begin_run(workdir, config=CONFIG, mlflow_run_id=live.run_id, tracking_uri=live.store.uri)
        step = Reuse(root=config.root, seed=config.seed, watch=console, on_notice=console.say, stop=stop)
        made = graph(step, config)
        conclude(config, made, live, workdir)
    if not live.waits:
        end_run(workdir)
    show(workdir, console)
    live.check_delivered()
    return made


def pinned(config: TaskConfig, workdir: Path, console: Console, *, refresh: bool) -> tuple[TaskConfig, Pins]:
    """`config` with the commit of a model on the hub, as it was found out for this workdir first."""
    name = teachers.on_hub(config.teacher.as_teacher)
    if name is None:
        return config, Pins()
    commit, pins = pinned_model(name, workdir, console.say, refresh=refresh)
    return replace(config, teacher=replace(config.teacher, revision=commit)), pins


def preflight(config: TaskConfig) -> None:
    """What can be known to be wrong before anything runs: the model, its blocks, the task, and whether the two fit."""
    found = check_teacher(config.teacher)
    chosen_layers(config.shrink.layers, found)
    labelled = load(task_of(config.shrink.task), seed=config.seed)
    matched(labelled, labels_of(found), words=is_of_words(found), model=config.teacher.model)


def refuse_other_run(workdir: Path) -> None:
    """Raise `InputError` for a workdir of `distil run`, whose config and report would be written over."""
    file = workdir / CONFIG
    if file.exists() and "\ncorpus:" in file.read_text(encoding="utf-8"):
        raise InputError(f"workdir {workdir} is that of a `distil run`, whose report would be lost; give another.")


def refuse_unseen(config: TaskConfig) -> None:
    """Raise `ConfigError` where workers run on machines that do not see where things are kept."""
    if has_other_machines() and config.root.is_local and config.storage is None:
        rule = f"workers run on other machines, which do not see {config.workdir}; give a shared folder, s3:// or gs://"
        raise ConfigError("storage", None, rule)


def about(config: TaskConfig, plan: Made, workdir: Path, run_id: str | None) -> RunAbout:
    """What MLflow is told of the run. `run_id`: that of an interrupted one, which goes on."""
    return RunAbout(
        name=config.name,
        workdir=str(workdir),
        fingerprint=plan.published.fingerprint,
        parameters=parameters(config),
        yaml=to_yaml(config),
        hardware=hardware(),
        run_id=run_id,
        tags={"task": config.shrink.task},
    )


def command_of(config: TaskConfig) -> str:
    """The command that this run is."""
    return command_line(sys.argv, f"distil task {config.teacher.model} {config.shrink.task}")


def conclude(config: TaskConfig, made: Made, live: LiveRun, workdir: Path) -> None:
    """Register the model, write report.json, log it, and describe the run."""
    shrunk, published = made.shrunk.artifact, made.published.artifact
    model = register(published, shrunk, config.publish.name, live)
    root = config.root.uri.rstrip("/") + "/"
    report = TaskReport(
        command="task",
        name=config.publish.name,
        fingerprint=made.published.fingerprint,
        task=shrunk.task,
        kind=shrunk.kind,
        metric=shrunk.metric,
        train=shrunk.train,
        chosen_on=shrunk.chosen_on,
        n=shrunk.n,
        dev_digest=shrunk.dev_digest,
        teacher=shrunk.teacher,
        student=shrunk.student,
        kept=shrunk.kept,
        interval=shrunk.interval,
        size_ratio=shrunk.student.parameters / shrunk.teacher.parameters,
        speedup=shrunk.teacher.latency_ms / shrunk.student.latency_ms,
        chosen=shrunk.chosen,
        notes=shrunk.notes,
        seconds={one.stage: one.seconds for one in made.all()},
        mlflow_run_id=live.run_id,
        model_uri=model.model_uri,
        champion=model.is_champion,
        verdict=model.verdict,
        folders=Folders(
            teacher=made.teacher.artifact.folder.uri.removeprefix(root), student=published.folder.uri.removeprefix(root)
        ),
    )
    write_task_report(workdir, report)
    live.log_report(to_plain(report))
    live.tell("the description", description=page_of(shrunk, config.publish.name, model.verdict, command_of(config)))
