"""`distil tune`: a search for the temperature and the loss weights, as ordinary code that reads from top to bottom."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from pipeline.cli.console import Console
from pipeline.config.preflight import preflight, preflighted
from pipeline.config.schema import PipelineConfig, bearing, to_yaml
from pipeline.config.secrets import check_secrets
from pipeline.records.outcome import say_skipped
from pipeline.records.owed import catch_up
from pipeline.records.pins import pinned
from pipeline.records.reuse import Reuse, Silent, StageResult
from pipeline.records.workdir import CONFIG, check_writable
from pipeline.run import prepared, steps
from pipeline.runtime.cluster import cluster, is_gone
from pipeline.runtime.hardware import hardware
from pipeline.runtime.lock import alone
from pipeline.runtime.signals import StopSignal, stopping
from pipeline.tracking.away.undelivered import kept
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import command_line
from pipeline.tracking.run import RunAbout
from pipeline.tracking.run import run as tracked
from pipeline.tracking.store import store_of, unless_named
from pipeline.tuning.budget import budget_of
from pipeline.tuning.config import TuneConfig
from pipeline.tuning.confirming.paired_test import POWER, power
from pipeline.tuning.extension.earlier import earlier_search
from pipeline.tuning.space import check_objective, paper_point
from pipeline.tuning.stage import Searching, step_of
from pipeline.tuning.tables.board import Board
from pipeline.tuning.tables.verdict import verdict_lines, verdict_table
from pipeline.tuning.tracking.description import begun, concluded
from pipeline.tuning.tracking.which_search import STARTED
from pipeline.tuning.verdict import CANDIDATES, Search
from stages.evaluation.heldout import halves
from stages.storage import Folder
from stages.teacher.fitness.examine import TAG, examined


def tune(config: PipelineConfig, console: Console, *, refresh: bool = False) -> Search:
    """Search, confirm, and say whether anything is better than the paper's setting; recorded as a stage is.

    A search that was killed goes on where it was; a finished one is only shown. Raises what `pipeline.run.run` does.
    """
    check_secrets(config, os.environ)
    workdir = check_writable(config.workdir)
    config, pins = pinned(config, workdir, console.say, refresh=refresh)
    if kept(workdir):
        found = planned(replace(config, until="publish"))
        catch_up(workdir, console.say, run_id=run_before(where_recorded(config, found.folder), found.folder))
    with stopping() as stop, alone(workdir, config.root, stop.lose):
        pins.write(workdir)
        return _tune(config, workdir, console, stop)


def _tune(config: PipelineConfig, workdir: Path, console: Console, stop: StopSignal) -> Search:
    config = replace(config, until="publish")  # a search needs blocks, wherever a run of this recipe would stop
    preflight(config)
    paper_point(config.tune, config.distil)
    check_objective(config.tune, config.distil)
    found = planned(config)
    there = where_recorded(config, found.folder)
    before = run_before(there, found.folder)
    if found.reused and (before is None or is_ended(found.folder)):
        console.reused(found)
        show(found.artifact, config, console)
        return found.artifact
    earlier = None if found.reused else begun_as(config, console)
    told = about(config, found, workdir, before)
    with (
        cluster(console.verbose, state=True),
        preflighted(there, reads_corpus=not prepared(plan_of(config), config).corpus.reused),
        tracked(there.tracking, told, console.say) as live,
    ):
        stop.listen(is_gone)
        if not (workdir / CONFIG).exists():  # else a run's, which is what other commands look for there
            (workdir / CONFIG).write_text(to_yaml(config), encoding="utf-8")
        note_run(live, found.folder)
        step = steps(config, live, console, stop)
        ready = prepared(step, config)
        assert ready.blocks is not None, "only a run until `teacher` has none"
        say_skipped(ready.corpus, console)
        live.log_dataset(ready.corpus.artifact, config.corpus.source)
        budget = budget_of(config.tune, config.distil, ready.blocks.artifact)
        if warning := examined(ready.teacher.artifact, ready.blocks.artifact):  # trials have nobody to tell
            console.say(warning)
            live.set_tag(TAG, warning)
        board = Board(
            console,
            trials=config.tune.trials,
            objective=config.tune.objective,
            full_tokens=budget.tokens,
            why=found.why,  # the note of its run, above, makes every search look as if it had been begun before
        )
        parts = halves(ready.blocks.artifact)
        if warning := too_few(config.tune.confirm_seeds):
            console.say(warning)
        searching = Searching(ready=ready, budget=budget, board=board, live=live, halves=parts, earlier=earlier)
        made = step_of(replace(step, watch=board), searching.search, config, ready)
        search = made.artifact
        if made.reused:
            searching.tell_again(made.folder)
        live.tell("the description", description=concluded(search, config.name, command_of(), full_run(search, config)))
    note_run(live, found.folder, ended=not live.waits)
    show(search, config, console)
    live.check_delivered()
    return search


def about(config: PipelineConfig, found: StageResult[Search], workdir: Path, run_id: str | None) -> RunAbout:
    """What MLflow is told of the search. `run_id`: its run of before, where it goes on."""
    return RunAbout(
        name=f"{config.name} search",
        workdir=str(workdir),
        fingerprint=found.fingerprint,
        parameters=bearing(config, search=True),
        yaml=to_yaml(config),
        hardware=hardware(),
        run_id=run_id,
        description=begun(config.name, command_of()),
    )


def command_of() -> str:
    """The command that this search is."""
    return command_line(sys.argv, "distil tune --config config.yaml")


def full_run(search: Search, config: PipelineConfig) -> str:
    """The command that takes the setting which the search came to."""
    return f"distil run {config.name} --from-search {search.mlflow_run_id}"


def planned(config: PipelineConfig) -> StageResult[Search]:
    """The search as it is recorded, or a promise of it."""
    step = plan_of(config)
    return step_of(step, Searching.search, config, prepared(step, config))


def begun_as(config: PipelineConfig, console: Console) -> Folder | None:
    """The folder of a finished search of fewer trials from which this one goes on, if there is one."""
    plan = plan_of(config)
    earlier = earlier_search(plan, config, prepared(plan, config))
    if earlier is None:
        return None
    there = earlier.artifact
    console.say(f"goes on from search {there.mlflow_run_id}: {there.trials} of {config.tune.trials} trials are there.")
    return earlier.folder


def plan_of(config: PipelineConfig) -> Reuse:
    """What says of each stage whether it would be reused, and runs none."""
    return Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)


def where_recorded(config: PipelineConfig, folder: Folder) -> PipelineConfig:
    """`config` with the address of the MLflow that its search was begun in, where today's command and environment name
    none."""
    begun = json.loads(folder.read_bytes(STARTED))["store"] if folder.exists(STARTED) else None
    return replace(config, tracking=unless_named(config.tracking, begun))


def run_before(config: PipelineConfig, folder: Folder) -> str | None:
    """The MLflow run of this search, where it was begun before and in the same store."""
    if not folder.exists(STARTED):
        return None
    started = json.loads(folder.read_bytes(STARTED))
    return started["mlflow_run_id"] if started["store"] == store_of(config.tracking).uri else None


def is_ended(folder: Folder) -> bool:
    """Whether MLflow has had the end of a search; a kill may have come between its record and that."""
    return json.loads(folder.read_bytes(STARTED)).get("ended", True) is True


def note_run(live: LiveRun, folder: Folder, *, ended: bool = False) -> None:
    """Write down the search's MLflow run, for the case that it is killed, and whether it came to its end."""
    started = {"mlflow_run_id": live.run_id, "store": live.store.uri, "ended": ended}
    folder.write_bytes(STARTED, json.dumps(started).encode())


def too_few(seeds: int) -> str:
    """What is likely to be overlooked with so few seeds; empty where they are enough."""
    default = TuneConfig().confirm_seeds
    found, usual = power(seeds, CANDIDATES), power(default, CANDIDATES)
    if found >= POWER:
        return ""
    return (
        f"with tune.confirm_seeds {seeds} a gain of twice what its differences spread is found in {found:.0%} of "
        f"searches; with the default, {default}, in {usual:.0%}."
    )


def show(search: Search, config: PipelineConfig, console: Console) -> None:
    """What came out, and the command that makes the full run of it."""
    console.terminal.print(verdict_table(search))
    for line in verdict_lines(search, full_run(search, config)):
        console.say(line)
