"""`distil ablate`: what each part of a recipe is worth, as ordinary code that reads from top to bottom."""

import io
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from pipeline.ablation import begun
from pipeline.ablation.begun import STAGE, Begun
from pipeline.ablation.children import Children
from pipeline.ablation.config import AblationConfig
from pipeline.ablation.figure import bars
from pipeline.ablation.plan import Plan, plan_of
from pipeline.ablation.result import FILE, Ablation, concluded
from pipeline.ablation.table import ablation_table, markdown, sentences
from pipeline.ablation.trainings import Trainings
from pipeline.cli.console import Console
from pipeline.config.preflight import preflight, preflighted
from pipeline.config.schema import PipelineConfig, bearing, to_yaml
from pipeline.config.secrets import check_secrets
from pipeline.config.serialisation import to_plain
from pipeline.records.outcome import say_skipped
from pipeline.records.owed import catch_up
from pipeline.records.pins import pinned
from pipeline.records.products import Products
from pipeline.records.record import fingerprint, identify
from pipeline.records.reuse import Reuse, Silent
from pipeline.records.workdir import CONFIG, check_writable
from pipeline.run import prepared, steps
from pipeline.runtime.cluster import cluster, is_gone
from pipeline.runtime.hardware import hardware
from pipeline.runtime.lock import alone
from pipeline.runtime.signals import StopSignal, stopping
from pipeline.tracking.away.undelivered import file_of
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import command_line, of_text
from pipeline.tracking.run import RunAbout
from pipeline.tracking.run import run as tracked
from pipeline.tracking.store import store_of, unless_named
from stages.corpus.checks import check_reachable
from stages.distil.config import DistilConfig
from stages.errors import InputError
from stages.evaluation.config import EvaluateConfig
from stages.storage import Folder
from stages.teacher.fitness import preflight as teacher


@dataclass(frozen=True, kw_only=True)
class Ablated:
    """What bears on an ablation, beside teacher and blocks."""

    asked: AblationConfig
    distil: DistilConfig
    evaluate: EvaluateConfig


def ablate(config: PipelineConfig, asked: AblationConfig, console: Console, *, refresh: bool = False) -> Ablation:
    """Train the recipe and its variants on the same seeds and equally many tokens, and say what each is worth.

    Every training is the recorded stage `distil`: an ablation that was killed goes on where it was, a finished one is
    only shown, and a run of the recipe is one of its trainings. Raises what `pipeline.run.run` does.
    """
    check_secrets(config, os.environ)
    if config.pretrain is not None:
        raise InputError(
            f"{config.name} makes its teacher itself, and which variants there are follows from one that is there: "
            "make it by `distil run`, and give its folder as --teacher.model to another recipe."
        )
    workdir = check_writable(config.workdir)
    config, pins = pinned(replace(config, until="evaluate"), workdir, console.say, refresh=refresh)
    folder = folder_of(config, asked, planned(config))
    before = begun.read(folder)
    catch_up(workdir, console.say, run_id=before.mlflow_run_id if before else None)
    with stopping() as stop, alone(workdir, config.root, stop.lose):
        pins.write(workdir)
        return _ablate(config, asked, workdir, folder, console, stop)


def _ablate(
    config: PipelineConfig, asked: AblationConfig, workdir: Path, folder: Folder, console: Console, stop: StopSignal
) -> Ablation:
    before = begun.read(folder)
    there = replace(config, tracking=unless_named(config.tracking, before.store if before else None))
    preflight(there)
    plan = plan_of(config, asked, teacher.check(config.teacher))
    found = planned(config)
    recorded = Trainings(plan=plan, asked=asked, ready=found).recorded(plan_step(config))
    if recorded is not None and before is not None and before.ended:
        console.say(f"all {len(plan.trained) * asked.seeds} trainings are recorded, and so is the ablation")
        ablation = concluded(plan, recorded, {}, asked.seeds_from(config.seed), before.mlflow_run_id)
        return kept(ablation, workdir, console)
    if not found.corpus.reused:
        check_reachable(config.corpus)
    told = about(config, asked, workdir, folder, before, store_of(there.tracking).uri)
    with (
        cluster(console.verbose),
        preflighted(there, reads_corpus=not found.corpus.reused),
        tracked(there.tracking, told, console.say) as live,
    ):
        stop.listen(is_gone)
        if not (workdir / CONFIG).exists():  # else a run's, which is what other commands look for there
            (workdir / CONFIG).write_text(to_yaml(config), encoding="utf-8")
        note(folder, live)
        say_plan(plan, asked, console)
        step = steps(config, live, console, stop)
        ready = prepared(step, config)
        say_skipped(ready.corpus, console)
        live.log_dataset(ready.corpus.artifact, config.corpus.source)
        children = Children(live, workdir, console.say)
        trainings = Trainings(plan=plan, asked=asked, ready=ready)
        made, failed = trainings.run(step, children, console)
        ablation = concluded(plan, made, failed, asked.seeds_from(config.seed), live.run_id)
        log(ablation, live)
    note(folder, live, ended=not live.waits and children.all_delivered and not failed)
    kept(ablation, workdir, console)
    live.check_delivered()
    children.check_delivered()
    return ablation


def plan_step(config: PipelineConfig) -> Reuse:
    """What says of each stage whether it would be reused, and runs none."""
    return Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)


def planned(config: PipelineConfig) -> Products:
    """Corpus, teacher and blocks as they are recorded, or promises of them."""
    return prepared(plan_step(config), config)


def folder_of(config: PipelineConfig, asked: AblationConfig, ready: Products) -> Folder:
    """Where is kept which run in MLflow the ablation is; known before anything runs."""
    assert ready.blocks is not None, "only a run until `teacher` has none"
    bears = Ablated(asked=asked, distil=config.distil, evaluate=config.evaluate)
    inputs = {made.stage: made.fingerprint for made in (ready.teacher, ready.blocks)}
    return config.root / STAGE / fingerprint(identify(STAGE, 1, bears, seed=config.seed, inputs=inputs))


def about(
    config: PipelineConfig, asked: AblationConfig, workdir: Path, folder: Folder, before: Begun | None, store: str
) -> RunAbout:
    """What MLflow is told of the ablation; one that was begun in the same MLflow goes on under its id."""
    chosen = {f"ablation.{name}": value for name, value in to_plain(asked).items()}
    return RunAbout(
        name=f"{config.name} ablation",
        workdir=str(workdir),
        fingerprint=folder.uri.rsplit("/", 1)[-1],
        parameters=bearing(config) | chosen,
        yaml=to_yaml(config),
        hardware=hardware(),
        run_id=before.mlflow_run_id if before is not None and before.store == store else None,
        tags={"kind": STAGE} | ({"from_search": config.from_search} if config.from_search else {}),
        description=of_text(f"What each part of the recipe `{config.name}` is worth.", command_of()),
    )


def command_of() -> str:
    """The command that this ablation is."""
    return command_line(sys.argv, "distil ablate --config config.yaml")


def note(folder: Folder, live: LiveRun, *, ended: bool = False) -> None:
    """Write down the ablation's MLflow run, for the case that it is killed, and whether it came to its end."""
    begun.write(folder, Begun(mlflow_run_id=live.run_id, store=live.store.uri, ended=ended))


def say_plan(plan: Plan, asked: AblationConfig, console: Console) -> None:
    """What is going to be trained, and what is not."""
    names = ", ".join(one.variant.name for one in plan.trained)
    number = len(plan.trained) * asked.seeds
    console.say(f"{number} trainings: {names}; each on {asked.seeds} seeds")
    for one in plan.left_out:
        console.say(f"{one.name} is left out: {one.why}")


def log(ablation: Ablation, live: LiveRun) -> None:
    """The figures, the table and the bars, in MLflow."""
    figures: dict[str, float] = {}
    for row in ablation.rows:
        name = f"final/{row.name}"
        figures |= {f"{name}/heldout_mlm_loss": row.loss, f"{name}/heldout_top1": fmean(row.top1)} if row.losses else {}
        if (apart := row.difference) is not None:
            figures |= {f"{name}/difference": apart.mean, f"{name}/low": apart.low, f"{name}/high": apart.high}
    live.log_metrics(0, figures)
    live.log_text(FILE, json.dumps(to_plain(ablation), indent=2))
    drawn = io.BytesIO()
    bars(ablation).savefig(drawn, format="png")
    live.tell("ablation.png", files=file_of("plots/ablation.png", drawn.getvalue()))
    text = f"What each part of the recipe `{ablation.recipe}` is worth.\n\n{markdown(ablation)}"
    live.tell("the description", description=of_text(text, command_of()))


def kept(ablation: Ablation, workdir: Path, console: Console) -> Ablation:
    """The same, written into the workdir and shown."""
    text = json.dumps(to_plain(ablation), indent=2, ensure_ascii=False)
    Folder(str(workdir)).write_bytes(FILE, text.encode())
    console.terminal.print(ablation_table(ablation))
    for line in sentences(ablation):
        console.say(line)
    console.say(f"file: {workdir / FILE}; run: {ablation.mlflow_run_id} in MLflow, `distil ui` shows it")
    return ablation
