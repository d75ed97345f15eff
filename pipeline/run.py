"""The pipeline as ordinary code: read `graph` once and know the product."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.cli.console import Console
from pipeline.config.preflight import preflight, preflighted
from pipeline.config.schema import PipelineConfig, to_yaml
from pipeline.config.secrets import check_secrets
from pipeline.cost.estimate import Cost, costs, lines
from pipeline.cost.trainings import asks_hub
from pipeline.records.elsewhere.storage_copy import StorageCopy, storage_copy
from pipeline.records.outcome import (
    about,
    conclude,
    deliver,
    hand_over,
    interrupted,
    log_final,
    register,
    say_elsewhere,
    say_skipped,
    show,
    tell_reused,
    where_interrupted,
)
from pipeline.records.owed import catch_up
from pipeline.records.pins import pinned
from pipeline.records.products import Products
from pipeline.records.report import read_report
from pipeline.records.reuse import Reuse, Silent, StageResult, Watch
from pipeline.records.workdir import CONFIG, begin_run, check_writable, end_run
from pipeline.runtime.cluster import cluster, is_gone
from pipeline.runtime.lock import alone
from pipeline.runtime.memory import PeakMemory
from pipeline.runtime.signals import StopSignal, stopping
from pipeline.tasks.graph import on_tasks
from pipeline.tasks.task_runs import log_task_runs
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.run import run as tracked
from pipeline.tracking.store import store_of
from stages.corpus.artifact import Corpus
from stages.corpus.checks import check_reachable, unpinned
from stages.corpus.checks import identity as corpus_identity
from stages.corpus.stage import gather
from stages.distil.stage import distil
from stages.errors import InputError
from stages.evaluation.stage import evaluate
from stages.publish.stage import publish
from stages.tasks.checks import check_tasks
from stages.teacher import source as teachers
from stages.teacher.artifact import Teacher
from stages.teacher.pretrain import Released, learn_vocabulary, pretrain, release
from stages.teacher.pretrain_config import PretrainConfig
from stages.teacher.stage import adapt, fetch
from stages.tokens.stage import pack


def graph(step: Reuse, config: PipelineConfig) -> Products:
    """The whole pipeline. Every line reuses its record when nothing that bears on it has changed."""
    ready = prepared(step, config)
    if ready.blocks is None:
        return ready
    student = step(distil, config.distil, ready.teacher, ready.blocks)
    if config.until == "distil":
        return replace(ready, student=student)
    report = step(evaluate, config.evaluate, ready.teacher, student, ready.blocks, seeded=False)
    made = replace(ready, student=student, report=report)
    if config.evaluate.tasks or config.publish.gate:
        made = on_tasks(step, config, made)
    if config.until == "evaluate":
        return made
    return replace(made, published=step(publish, config.publish, student, report, made.tasks, seeded=False))


def prepared(step: Reuse, config: PipelineConfig) -> Products:
    """Corpus, teacher and blocks: what one student is made from, or the many of a search."""
    marks = corpus_identity(config.corpus, config.root)
    corpus = step(gather, config.corpus, seeded=False, outside=marks, known_by=unpinned(config.corpus))
    if config.pretrain is None:
        teacher = step(fetch, config.teacher, seeded=False, outside=teachers.identity(config.teacher))
        released = None
    else:
        teacher, released = pretrained(step, config.pretrain, corpus)
    if config.until == "teacher":
        return Products(corpus=corpus, teacher=teacher, released=released)
    blocks = step(pack, config.tokens, corpus, teacher, seeded=False)
    if config.teacher.adapt_steps:
        teacher = step(adapt, config.teacher, teacher, blocks)
    return Products(corpus=corpus, teacher=teacher, blocks=blocks)


def pretrained(
    step: Reuse, config: PretrainConfig, corpus: StageResult[Corpus]
) -> tuple[StageResult[Teacher], StageResult[Released]]:
    """A BERT from nothing, phase after phase, and the same one ready to be handed over."""
    tokenized = step(learn_vocabulary, config.vocabulary, corpus, seeded=False)
    teacher: StageResult[Teacher] | None = None
    for number, phase in enumerate(config.phases, start=1):
        blocks = step(pack, phase.tokens(), corpus, tokenized, name=f"tokens-{phase.block_length}", seeded=False)
        teacher = step(pretrain, phase, tokenized, teacher, blocks, name=f"pretrain-{number}")
    assert teacher is not None, "PretrainConfig sees to it that there is a phase"
    return teacher, step(release, config.release, teacher, blocks, seeded=False)


def describe(config: PipelineConfig, console: Console, *, refresh: bool = False) -> Products:
    """Say which stages would be reused, which would run, and why, what that would cost, and what would keep a run from
    starting now."""
    found = foresee(config, console, console.say, refresh=refresh)
    for line in lines(found.costs):
        console.say(line)
    if found.fault is not None:
        console.say(f"A run would not start: {found.fault}")
    return found.products


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What is known of a run beforehand."""

    products: Products
    costs: tuple[Cost, ...]
    """Of what would run, and of a search; none where the teacher cannot be looked at."""
    fault: InputError | None
    """What would keep it from starting now."""


def foresee(config: PipelineConfig, watch: Watch, say: Callable[[str], None], *, refresh: bool = False) -> Foreseen:
    """What a run would reuse and what it would make, of which `watch` is told stage by stage, what that would cost, and
    what would keep it from starting now."""
    check_secrets(config, os.environ)  # records are read wherever `storage` says
    workdir = Path(config.workdir).expanduser().resolve()
    config, _ = pinned(config, workdir, say, refresh=refresh)
    products = graph(Reuse(root=config.root, seed=config.seed, watch=watch, plan=True), config)
    fault: InputError | None = None
    try:
        preflight(where_interrupted(config, workdir))
        if not products.corpus.reused:
            check_reachable(config.corpus)
    except InputError as error:
        fault = error
    if fault is not None and asks_hub(config, products):
        return Foreseen(products=products, costs=(), fault=fault)  # nobody waits twice for a hub that does not answer
    try:
        found = costs(config, products)
    except InputError as error:
        found, fault = (), fault or error
    return Foreseen(products=products, costs=found, fault=fault)


def run(config: PipelineConfig, console: Console, *, refresh: bool = False) -> Products:
    """Run the pipeline to `config.until`, record it in MLflow and in the workdir, and show what came out.

    Names on the hub mean what they meant to the first run in this workdir; with `refresh`, what they mean now. Raises
    `InputError` for bad input and where another run is at work there; `Preempted` or `Terminated` after SIGTERM;
    `MlflowAway` where something of a run that is over waits for MLflow.
    """
    check_secrets(config, os.environ)
    workdir = check_writable(config.workdir)
    copy = storage_copy(config, workdir)
    copy.restore(console.say)
    config, pins = pinned(config, workdir, console.say, refresh=refresh)
    before = interrupted(config, workdir)
    goes_on = before.mlflow_run_ids[-1] if before is not None and before.mlflow_run_ids else None
    ended = catch_up(workdir, console.say, run_id=goes_on)
    preflight(where_interrupted(config, workdir))
    with stopping() as stop, alone(workdir, config.root, stop.lose):
        pins.write(workdir)
        return _run(config, workdir, console, stop, ended, copy)


def _run(
    config: PipelineConfig, workdir: Path, console: Console, stop: StopSignal, ended: bool, copy: StorageCopy
) -> Products:
    """`ended`: whether MLflow lacked no more than what was delivered just now of a run with this config."""
    plan = graph(Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True), config)
    there = where_interrupted(config, workdir)
    told = about(config, plan.all()[-1], workdir, store_of(there.tracking).uri)
    whole = is_recorded(plan, workdir) or (ended and all(made.reused for made in plan.all()))
    if whole and told.run_id is None:  # else it was killed just before MLflow had its end
        for made in plan.all():
            console.reused(made)
        say_skipped(plan.corpus, console)
        if plan.blocks is not None:
            console.say(plan.blocks.artifact.summary)
        show(workdir, console)
        return plan
    if not plan.corpus.reused:
        check_reachable(config.corpus)
    if plan.tasks is not None and not plan.tasks.reused:
        check_tasks(config.evaluate.tasks, config.seed)
    with (
        PeakMemory() as memory,
        cluster(console.verbose),
        preflighted(there, reads_corpus=not plan.corpus.reused),
        tracked(there.tracking, told, console.say) as live,
    ):
        stop.listen(is_gone)
        say_elsewhere(config, workdir, live, console)
        (workdir / CONFIG).write_text(to_yaml(config), encoding="utf-8")
        begin_run(workdir, config=CONFIG, mlflow_run_id=live.run_id, tracking_uri=live.store.uri)
        copy.write()
        step = steps(config, live, console, stop)
        products = graph(step, config)
        say_skipped(products.corpus, console)
        live.log_dataset(products.corpus.artifact, config.corpus.source)
        live.log_figures()
        log_final(config, products, live)
        if products.tasks is not None:
            log_task_runs(live, products.tasks.artifact)
        if products.published is not None:
            conclude(config, products, register(config, products, live), live, workdir, memory, console.say)
        elif products.released is not None:
            hand_over(config, products.released, live, workdir)
    if not live.waits:
        end_run(workdir)
    copy.write()
    show(workdir, console)
    live.check_delivered()
    return products


def steps(config: PipelineConfig, live: LiveRun, console: Console, stop: StopSignal) -> Reuse:
    """What runs or reuses each stage: watched by a person, recorded in MLflow, stopped by SIGTERM."""
    return Reuse(
        root=config.root,
        seed=config.seed,
        watch=console,
        on_metrics=partial(deliver, live),
        on_notice=console.say,
        on_tag=live.set_tag,
        on_reused=partial(tell_reused, live, console),
        stop=stop,
    )


def is_recorded(plan: Products, workdir: Path) -> bool:
    """Whether this very run is there from end to end, its report and its registered model included."""
    report = read_report(workdir)
    return (
        all(made.reused for made in plan.all())
        and plan.published is not None
        and report is not None
        and report.fingerprint == plan.published.fingerprint
    )
