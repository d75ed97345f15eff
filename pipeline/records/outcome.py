"""What became of a run: told to MLflow while it lasts, written into the workdir at its end, shown to a person."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.cli.console import Console
from pipeline.config.schema import PipelineConfig, bearing, to_yaml
from pipeline.config.serialisation import to_plain
from pipeline.html_report.draw import NAME as PAGE
from pipeline.html_report.draw import draw
from pipeline.records.products import Products
from pipeline.records.record import read_record
from pipeline.records.report import Folders, RunReport, read_report, write_report
from pipeline.records.reuse import StageResult
from pipeline.records.workdir import CONFIG, RunFile, read_run
from pipeline.runtime.environment import environment
from pipeline.runtime.hardware import hardware
from pipeline.runtime.memory import PeakMemory
from pipeline.tasks.gate import gate_of
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import command_line, final, final_of, of_experiment, of_model, of_run, of_text, of_version
from pipeline.tracking.registry import PublishedModel
from pipeline.tracking.run import RunAbout
from pipeline.tracking.store import URI_VARIABLE
from stages.corpus.artifact import Corpus
from stages.evaluation.artifact import Report
from stages.evaluation.stage import block_losses
from stages.storage import Folder
from stages.teacher.pretrain import Released
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint


def interrupted(config: object, workdir: Path) -> RunFile | None:
    """The run that was begun in this workdir with this very config and has not come to its end; None for none."""
    file, before = workdir / CONFIG, read_run(workdir)
    same = file.exists() and file.read_text(encoding="utf-8") == to_yaml(config)
    return before if before is not None and before.finished is None and same else None


def where_recorded(tracking: TrackingConfig, before: RunFile | None) -> TrackingConfig:
    """The MLflow that an interrupted run is in, whatever the environment of that one was and from whichever folder the
    command is given now; `before`: that run. An address in today's environment counts."""
    if before is None or before.tracking_uri is None or (tracking.uri is None and os.environ.get(URI_VARIABLE)):
        return tracking
    return replace(tracking, uri=before.tracking_uri)


def where_interrupted(config: PipelineConfig, workdir: Path) -> PipelineConfig:
    """`config` with the MLflow that the run in this workdir goes on in, if one with this config was interrupted."""
    return replace(config, tracking=where_recorded(config.tracking, interrupted(config, workdir)))


def about(config: PipelineConfig, last: StageResult[Any], workdir: Path, tracking_uri: str) -> RunAbout:
    """What MLflow is told of the run; one that was interrupted in this workdir, and is in the same MLflow, goes on
    under its own id."""
    before = interrupted(config, workdir)
    there = before is not None and before.tracking_uri in (None, tracking_uri)
    unfinished = before.mlflow_run_ids[-1:] if before is not None and there else ()
    return RunAbout(
        name=config.name,
        workdir=str(workdir),
        fingerprint=last.fingerprint,
        parameters=bearing(config),
        yaml=to_yaml(config),
        hardware=hardware(),
        run_id=next(iter(unfinished), None),
        tags={"from_search": config.from_search} if config.from_search else {},
        description=of_run(config.name, command_of()),
    )


def command_of() -> str:
    """The command that this run is."""
    return command_line(sys.argv, "distil run --config config.yaml")


def deliver(live: LiveRun, stage: str, step: int, metrics: Mapping[str, float]) -> None:
    """A stage's metrics to MLflow: distilling's under their own names, another training's under the stage's."""
    live.log_metrics(step, metrics if stage == "distil" else {f"{stage}/{k}": v for k, v in metrics.items()})


def deliver_again(live: LiveRun, made: StageResult[Any]) -> None:
    """Tell MLflow again what a finished training reported, where it was made in this very run before the run was
    killed: the last two seconds of it may have gone with the driver. What MLflow holds is passed over."""
    record = read_record(made.folder) if live.continued else None
    if record is None or datetime.fromisoformat(record.finished).timestamp() < live.started:
        return
    for report in checkpoint.history(made.folder / "checkpoints"):
        step = int(report["step"])
        deliver(live, made.stage, step, {name: value for name, value in report.items() if name != "step"})


def tell_reused(live: LiveRun, console: Console, made: StageResult[Any]) -> None:
    """What a finished stage told when it ran: to MLflow, and of blocks to a person too, before a training begins."""
    deliver_again(live, made)
    if isinstance(made.artifact, Blocks):
        deliver(live, made.stage, 0, made.artifact.figures)
        console.say(made.artifact.summary)


def say_skipped(corpus: StageResult[Corpus], console: Console) -> None:
    """Whether a corpus that was made earlier is without some of its files; one that is made now says so itself."""
    if corpus.reused and (notice := corpus.artifact.notice):
        console.say(notice)


def say_elsewhere(config: PipelineConfig, workdir: Path, live: LiveRun, console: Console) -> None:
    """Whether the run was begun in another MLflow than the one that is asked for now."""
    before = interrupted(config, workdir)
    if before is not None and before.tracking_uri not in (None, live.store.uri):
        console.say(
            f"begun in MLflow at {before.tracking_uri}; recorded as a new run at {live.store.uri}, as asked for"
        )


def register(config: PipelineConfig, products: Products, live: LiveRun) -> PublishedModel:
    """The published folder as a registered model, `candidate`, and `champion` if the gate says so."""
    assert products.published is not None, "only a run that published registers"
    assert products.report is not None
    assert products.blocks is not None
    blocks = products.blocks.artifact
    return live.log_model(
        products.published.artifact,
        products.report.artifact,
        name=config.publish.name,
        score=lambda folder: block_losses(config.evaluate, str(folder), blocks),
        lower_on=gate_of(config, products),
    )


def conclude(
    config: PipelineConfig,
    products: Products,
    model: PublishedModel,
    live: LiveRun,
    workdir: Path,
    memory: PeakMemory,
    say: Callable[[str], object],
) -> None:
    """Write report.json, log it, describe what was published, and draw report.html."""
    assert products.published is not None, "only a run that published concludes"
    assert products.report is not None
    assert products.student is not None
    student, measured, published = products.student.artifact, products.report.artifact, products.published.artifact
    root = config.root.uri.rstrip("/") + "/"
    report = RunReport(
        recipe=config.name,
        fingerprint=products.published.fingerprint,
        **{f.name: getattr(measured, f.name) for f in fields(RunReport) if hasattr(measured, f.name)},
        tokens_per_second=student.tokens_per_second,
        steps=student.steps,
        tokens=student.tokens,
        peak_memory_mb=memory.peak_mb,
        seconds={made.stage: made.seconds for made in products.all()},
        mlflow_run_id=live.run_id,
        model_uri=model.model_uri,
        champion=model.is_champion,
        verdict=model.verdict,
        folders=Folders(
            teacher=products.teacher.artifact.folder.uri.removeprefix(root),
            student=published.folder.uri.removeprefix(root),
        ),
        tasks={} if products.tasks is None else products.tasks.artifact.by_name(),
    )
    write_report(workdir, report)
    live.log_report(to_plain(report))
    describe(config.name, measured, model, live, command_of())
    draw(config, products, report, workdir, live, say)


def describe(recipe: str, measured: Report, model: PublishedModel, live: LiveRun, command: str) -> None:
    """What MLflow's pages say of a run that published, of its model, and of the experiment that it is the newest of."""
    if model.run_id == live.run_id:  # else the version is an earlier run's, and so is what is said of it
        own = of_version(model.model_uri, model.verdict, measured, command)
        of_name = of_model(model.name, model.version, measured, is_champion=model.is_champion, command=command)
        told = {"name": model.name, "version": str(model.version), "description": own, "of_name": of_name}
        live.tell("the model's description", model=told)
    page = of_run(recipe, command, measured, model.model_uri, model.verdict)
    live.tell("the description", description=page, experiment=of_experiment(page))


def log_final(config: PipelineConfig, products: Products, live: LiveRun) -> None:
    """The figures that runs are sorted by, of whatever student there is: beside its teacher, or by its last evaluation
    where the run ends before that."""
    if products.report is not None:
        measured = products.report.artifact
        live.log_metrics(0, final_of(measured))
        if products.published is None:
            live.tell("the description", description=of_run(config.name, command_of(), measured))
    elif products.student is not None:
        reports = reversed(checkpoint.history(products.student.folder / "checkpoints"))
        live.log_metrics(0, next(filter(None, map(final, reports)), {}))


def hand_over(config: PipelineConfig, released: StageResult[Released], live: LiveRun, workdir: Path) -> None:
    """Put a teacher that was pre-trained here into `<workdir>/pretrained`, with a README that says how it was made."""
    model, target, here = released.artifact, Folder(str(workdir)) / "pretrained", environment()
    live.log_metrics(0, {"final/mlm_loss": model.mlm_loss, "final/top1": model.top1})
    target.remove()
    with model.folder.as_local() as source, target.written_locally() as local:
        shutil.copytree(source, local, dirs_exist_ok=True)
        text = teacher_readme(config, model, here.commit or "an unknown commit")
        (local / "README.md").write_text(text, encoding="utf-8")
    live.tell("the description", description=of_text(text, command_of()))


def teacher_readme(config: PipelineConfig, model: Released, commit: str) -> str:
    """What a pre-trained teacher is and how it was made, for the folder that it is handed over in."""
    assert config.pretrain is not None, "only a pre-trained teacher is handed over"
    phases, lines = config.pretrain.phases, []
    for phase in phases:
        steps, batch = phase.train.steps or 0, phase.train.global_batch
        tokens = steps * batch * phase.block_length / 1e6
        lines.append(
            f"- {phase.layers} layers on blocks of {phase.block_length}: {steps:,} steps of {batch} blocks, "
            f"{tokens:.1f} million tokens"
        )
    schedule = "\n".join(lines)
    return f"""# A small BERT, pre-trained from nothing

{phases[-1].layers} layers, {phases[-1].width} wide, {phases[-1].heads} heads, a WordPiece vocabulary of
{config.pretrain.vocabulary.size:,}, at most {phases[-1].positions} tokens; stored in bf16, to be loaded as fp32.
Made by `distil run {config.name}` of commit {commit}, on the corpus `{config.corpus.source}`:

{schedule}

On {model.heldout_tokens:,} tokens of held-out text, uniformly masked: masked-LM loss {model.mlm_loss:.3f},
top-1 {model.top1:.3f}.
"""


def show(workdir: Path, console: Console) -> None:
    """The table of what was kept, and where the model and the run are."""
    report, run = read_report(workdir), read_run(workdir)
    if report is not None and run is not None and report.mlflow_run_id in run.mlflow_run_ids:
        console.report(report)
        console.say(f"model: {report.model_uri} (@candidate{', @champion' if report.champion else ''})")
        console.say(f"gate:  {report.verdict}")
        page = f", {PAGE}" if (workdir / PAGE).exists() else ""
        console.say(f"files: {workdir}  (report.json{page}, config.yaml)")
        console.say(f"run:   {report.mlflow_run_id} in MLflow; `distil ui` shows it")
