"""A search as a stage: settings on small budgets, then the best of them and the paper's again, on fresh seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray

from pipeline.config.schema import PipelineConfig
from pipeline.records.products import Products
from pipeline.records.reuse import Reuse, StageResult
from pipeline.runtime.hardware import hardware
from pipeline.tracking.live_run import LiveRun
from pipeline.tuning.budget import Budget
from pipeline.tuning.concurrency import concurrency
from pipeline.tuning.config import TuneConfig
from pipeline.tuning.figures.plots import figures
from pipeline.tuning.ledger import Ledger, Trial
from pipeline.tuning.search import repeat
from pipeline.tuning.search import search as find
from pipeline.tuning.space import paper_point
from pipeline.tuning.tables.board import Board
from pipeline.tuning.tracking.conclusion import log_search
from pipeline.tuning.tracking.runs import Children
from pipeline.tuning.tracking.which_search import STAGE
from pipeline.tuning.trial import Task
from pipeline.tuning.verdict import Confirmed, Search, candidates, judge
from stages.cluster_capacity import most_gpus
from stages.context import StageContext, stage
from stages.distil.config import DistilConfig
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.tokens.blocks import Blocks
from stages.training.driver import gpu_wanted


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
    live: LiveRun

    @stage(name=STAGE, version=1)
    def search(self, config: Searched, teacher: Teacher, blocks: Blocks, context: StageContext) -> Search:
        """Try settings on small budgets, then the best of them and the paper's again, on fresh seeds.

        Raises RuntimeError where no trial, or no run of the paper's setting, came to an end.
        """
        task = self.task(config, context.folder / "work")
        trials = Ledger(context.folder / "trials", self.board.show)
        runs = Ledger(context.folder / "confirmations", lambda all: self.board.confirm(all, len(all)))
        children = Children(self.live, hardware=hardware())
        over = False
        try:
            for trial in trials.trials:
                if trial.is_over:  # a kill may have come between the ledger and MLflow
                    children.ended(trial)
            paper = paper_point(config.tune, config.distil)
            find(config.tune, task, trials, children, paper=paper, seed=context.seed)
            chosen = [trials[0], *candidates(trials.trials, config.tune.objective)]
            seeds = fresh_seeds(context.seed, config.tune.confirm_seeds)
            schedule(runs, chosen, seeds)
            repeat(task, runs, trials, children)
            over = True
        finally:
            children.close(interrupted=not over)
        task.folder.remove()
        search = self.concluded(config.tune, context.folder, trials.trials, chosen, runs.trials, seeds)
        log_search(self.live, trials.trials, search, figures(trials.trials, search.objective, self.budget.tokens))
        return search

    def tell_again(self, folder: Folder) -> None:
        """Give MLflow what it lacks of a search that is over: it was away, or the driver was killed, at the end."""
        children = Children(self.live, hardware=hardware())
        try:
            for kind in ("trials", "confirmations"):
                for trial in Ledger(folder / kind).trials:
                    children.ended(trial)
        finally:
            children.close(interrupted=False)

    def task(self, config: Searched, folder: Folder) -> Task:
        """What all trials have in common, for the cluster as it is."""
        assert self.ready.blocks is not None, "a search needs blocks"
        return Task(
            folder=folder,
            distil=config.distil,
            teacher=self.ready.teacher,
            blocks=self.ready.blocks,
            budget=self.budget,
            concurrency=concurrency(
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


def step_of(step: Reuse, search: Callable[..., Search], config: PipelineConfig, ready: Products) -> StageResult[Search]:
    """The search as a step, like those in `pipeline.run.graph`."""
    searched = Searched(tune=config.tune, distil=config.distil)
    return step(search, searched, ready.teacher, ready.blocks)


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
