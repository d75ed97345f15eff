"""`distil tune`: a search for the temperature and the loss weights, as ordinary code that reads from top to bottom."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from pipeline.cluster import cluster
from pipeline.config import PipelineConfig, flat, to_yaml
from pipeline.console import Console
from pipeline.hardware import hardware
from pipeline.live import Live
from pipeline.lock import alone
from pipeline.outcome import CONFIG, say_skipped
from pipeline.preflight import preflight, preflighted
from pipeline.reuse import Made, Reuse, Silent
from pipeline.run import Products, prepared, steps
from pipeline.stop import Stop, stopping
from pipeline.store import store_of
from pipeline.tracking import RunAbout
from pipeline.tracking import run as tracked
from pipeline.tuning.board import Board
from pipeline.tuning.budget import Budget, budget_of
from pipeline.tuning.conclusion import log_search
from pipeline.tuning.config import TuneConfig
from pipeline.tuning.ledger import Ledger, Trial
from pipeline.tuning.places import STAGE, STARTED
from pipeline.tuning.plots import figures
from pipeline.tuning.room import room
from pipeline.tuning.runs import Children
from pipeline.tuning.search import repeat
from pipeline.tuning.search import search as find
from pipeline.tuning.space import paper_point
from pipeline.tuning.trial import Task
from pipeline.tuning.verdict import Confirmed, Search, candidates, judge
from pipeline.tuning.verdict_table import verdict_lines, verdict_table
from pipeline.workdir import check_writable
from stages.capacity import most_gpus
from stages.distil import DistilConfig
from stages.storage import Folder
from stages.teacher import Teacher
from stages.tokens import Blocks
from stages.train import gpu_wanted
from stages.where import Where, stage


def tune(config: PipelineConfig, console: Console) -> Search:
    """Search, confirm, and say whether anything is better than the paper's setting; recorded as a stage is.

    A search that was killed goes on where it was; a finished one is only shown. Raises what `pipeline.run.run` does.
    """
    workdir = check_writable(config.workdir)
    with stopping() as stop, alone(workdir, config.root, stop.lose):
        return _tune(config, workdir, console, stop)


def _tune(config: PipelineConfig, workdir: Path, console: Console, stop: Stop) -> Search:
    config = replace(config, until="publish")  # a search needs blocks, wherever a run of this recipe would stop
    preflight(config)
    paper_point(config.tune, config.distil)
    found = planned(config)
    before = run_before(config, found.folder)
    if found.reused and (before is None or is_ended(found.folder)):
        console.reused(found)
        show(found.artifact, config, console)
        return found.artifact
    about = RunAbout(
        name=f"{config.name} search",
        workdir=str(workdir),
        fingerprint=found.fingerprint,
        parameters=flat(config),
        yaml=to_yaml(config),
        hardware=hardware(),
        run_id=before,
    )
    with (
        cluster(console.verbose, state=True),
        preflighted(config),
        tracked(config.tracking, about, console.say) as live,
    ):
        stop.listen()
        if not (workdir / CONFIG).exists():  # else a run's, which is what other commands look for there
            (workdir / CONFIG).write_text(to_yaml(config), encoding="utf-8")
        note_run(live, found.folder)
        step = steps(config, live, console, stop)
        ready = prepared(step, config)
        assert ready.blocks is not None, "only a run until `teacher` has none"
        say_skipped(ready.corpus, console)
        live.log_dataset(ready.corpus.artifact, config.corpus.source)
        budget = budget_of(config.tune, config.distil, ready.blocks.artifact)
        board = Board(
            console,
            trials=config.tune.trials,
            objective=config.tune.objective,
            full_tokens=budget.tokens,
            why=found.why,  # the note of its run, above, makes every search look as if it had been begun before
        )
        searching = Searching(ready=ready, budget=budget, board=board, live=live)
        search = step_of(replace(step, watch=board), searching.search, config, ready).artifact
    note_run(live, found.folder, ended=True)
    show(search, config, console)
    return search


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What bears on a search's result, beside teacher and blocks."""

    tune: TuneConfig
    distil: DistilConfig


@dataclass(frozen=True, kw_only=True)
class Searching:
    """A search under way; `search` is the stage."""

    ready: Products
    budget: Budget
    board: Board
    live: Live

    @stage(name=STAGE, version=1)
    def search(self, config: Searched, teacher: Teacher, blocks: Blocks, where: Where) -> Search:
        """Try settings on small budgets, then the best of them and the paper's again, on fresh seeds.

        Raises RuntimeError where no trial, or no run of the paper's setting, came to an end.
        """
        task = self.task(config, where.folder / "work")
        trials = Ledger(where.folder / "trials", self.board.show)
        runs = Ledger(where.folder / "confirmations", lambda all: self.board.confirm(all, len(all)))
        children = Children(self.live, hardware=hardware())
        over = False
        try:
            for trial in trials.trials:
                if trial.is_over:  # a kill may have come between the ledger and MLflow
                    children.ended(trial)
            paper = paper_point(config.tune, config.distil)
            find(config.tune, task, trials, children, paper=paper, seed=where.seed)
            chosen = [trials[0], *candidates(trials.trials, config.tune.objective)]
            seeds = fresh_seeds(where.seed, config.tune.confirm_seeds)
            schedule(runs, chosen, seeds)
            repeat(task, runs, trials, children)
            over = True
        finally:
            children.close(interrupted=not over)
        task.folder.remove()
        search = self.concluded(config.tune, where.folder, trials.trials, chosen, runs.trials, seeds)
        log_search(self.live, trials.trials, search, figures(trials.trials, search.objective, self.budget.tokens))
        return search

    def task(self, config: Searched, folder: Folder) -> Task:
        """What all trials have in common, for the cluster as it is."""
        assert self.ready.blocks is not None, "a search needs blocks"
        return Task(
            folder=folder,
            distil=config.distil,
            teacher=self.ready.teacher,
            blocks=self.ready.blocks,
            budget=self.budget,
            room=room(
                config.tune,
                config.distil,
                ray.cluster_resources() | {"GPU": most_gpus()},
                gpu=gpu_wanted(config.distil),
            ),
            evaluate_blocks=config.tune.evaluate_blocks,
        )

    def concluded(
        self,
        tune: TuneConfig,
        folder: Folder,
        trials: Sequence[Trial],
        chosen: Sequence[Trial],
        runs: Sequence[Trial],
        seeds: tuple[int, ...],
    ) -> Search:
        """The search in figures, with its verdict."""
        confirmed = [one for trial in chosen if (one := confirmation(trial, runs, seeds, tune.objective)) is not None]
        if not confirmed or confirmed[0].trial != 0:
            why = next((run.why for run in runs if run.confirms == 0 and run.why), "no reason is known")
            raise RuntimeError(f"the paper's setting could not be run again, so nothing can be compared: {why}")
        return Search(
            folder=folder,
            mlflow_run_id=self.live.run_id,
            objective=tune.objective,
            trials=len(trials),
            completed=sum(trial.state == "completed" for trial in trials),
            failed=sum(trial.state == "failed" for trial in trials),
            tokens_spent=sum(trial.tokens for trial in trials),
            full_budget_tokens=self.budget.tokens,
            confirm_tokens=sum(run.tokens for run in runs),
            seeds=seeds,
            confirmed=tuple(confirmed),
            verdict=judge(confirmed[0], confirmed[1:]),
        )


def step_of(step: Reuse, search: Callable[..., Search], config: PipelineConfig, ready: Products) -> Made[Search]:
    """The search as a step, like those in `pipeline.run.graph`."""
    searched = Searched(tune=config.tune, distil=config.distil)
    return step(search, searched, ready.teacher, ready.blocks)


def planned(config: PipelineConfig) -> Made[Search]:
    """The search as it is recorded, or a promise of it."""
    step = Reuse(root=config.root, seed=config.seed, watch=Silent(), plan=True)
    return step_of(step, Searching.search, config, prepared(step, config))


def fresh_seeds(seed: int, number: int) -> tuple[int, ...]:
    """Seeds that no trial has seen: trials have the run's own."""
    return tuple((seed + 1 + index) % 2**32 for index in range(number))


def schedule(runs: Ledger, chosen: Sequence[Trial], seeds: Sequence[int]) -> None:
    """Write down the runs that confirm `chosen`, every setting on every seed, but for those that are there."""
    there = {(run.confirms, run.seed) for run in runs.trials}
    for seed in seeds:
        for trial in chosen:
            if (trial.number, seed) not in there:
                runs.begin(trial.setting, seed=seed, confirms=trial.number)


def confirmation(trial: Trial, runs: Sequence[Trial], seeds: Sequence[int], objective: str) -> Confirmed | None:
    """A trial's setting with its values on all seeds; None where one of its runs did not come to its end."""
    ends = {run.seed: run.objective(objective) for run in runs if run.confirms == trial.number and is_whole(run)}
    values = [ends.get(seed) for seed in seeds]
    if any(value is None for value in values):
        return None
    return Confirmed(trial=trial.number, setting=trial.setting, values=tuple(v for v in values if v is not None))


def is_whole(run: Trial) -> bool:
    """Whether it came to its end."""
    return run.state == "completed"


def run_before(config: PipelineConfig, folder: Folder) -> str | None:
    """The MLflow run of this search, where it was begun before and in the same store."""
    if not folder.exists(STARTED):
        return None
    started = json.loads(folder.read_bytes(STARTED))
    return started["mlflow_run_id"] if started["store"] == store_of(config.tracking).uri else None


def is_ended(folder: Folder) -> bool:
    """Whether MLflow has had the end of a search; a kill may have come between its record and that."""
    return json.loads(folder.read_bytes(STARTED)).get("ended", True) is True


def note_run(live: Live, folder: Folder, *, ended: bool = False) -> None:
    """Write down the search's MLflow run, for the case that it is killed, and whether it came to its end."""
    started = {"mlflow_run_id": live.run_id, "store": live.store.uri, "ended": ended}
    folder.write_bytes(STARTED, json.dumps(started).encode())


def show(search: Search, config: PipelineConfig, console: Console) -> None:
    """What came out, and the command that makes the full run of it."""
    console.terminal.print(verdict_table(search))
    for line in verdict_lines(search, f"distil run {config.name} --from-search {search.mlflow_run_id}"):
        console.say(line)
