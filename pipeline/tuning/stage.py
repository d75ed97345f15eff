"""A search as a stage: settings on small budgets, then the best of them and the paper's again, on fresh seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ray

from pipeline.config.schema import PipelineConfig
from pipeline.records.products import Products
from pipeline.records.reuse import Reuse, StageResult
from pipeline.runtime.hardware import hardware
from pipeline.tracking.live_run import LiveRun
from pipeline.tuning.budget import Budget
from pipeline.tuning.concurrency import concurrency
from pipeline.tuning.config import TuneConfig
from pipeline.tuning.confirming.race import confirmations, fresh_seeds, race
from pipeline.tuning.extension.take_over import CONFIRMATIONS, TRIALS, take_confirmations, take_trials
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
from pipeline.tuning.verdict import Search, candidates
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
    halves: tuple[Blocks, Blocks]
    """The blocks, to be scored on the half of the held-out text that is for trials, and on that for confirming."""
    earlier: Folder | None = None
    """A finished search of fewer trials, from which this one goes on."""

    @stage(name=STAGE, version=2)
    def search(self, config: Searched, teacher: Teacher, blocks: Blocks, context: StageContext) -> Search:
        """Try settings on small budgets, then the best of them and the paper's again, on fresh seeds and fresh text.

        Raises RuntimeError where no trial, or no run of the paper's setting, came to an end.
        """
        work, objective = context.folder / "work", config.tune.objective
        trials = Ledger(context.folder / TRIALS, self.board.show)
        children = Children(self.live, hardware=hardware())
        over = False
        try:
            if self.earlier is not None:
                take_trials(self.earlier, trials, children)
            for trial in trials.trials:
                if trial.is_over:  # a kill may have come between the ledger and MLflow
                    children.ended(trial)
            paper = paper_point(config.tune, config.distil)
            task = self.task(config, work / "trials", self.halves[0])
            find(config.tune, task, trials, children, paper=paper, seed=context.seed)
            chosen = [trials[0], *candidates(trials.trials, objective)]
            seeds = fresh_seeds(context.seed, config.tune.confirm_seeds)
            most = len(chosen) * len(seeds)
            runs = Ledger(context.folder / CONFIRMATIONS, lambda all: self.board.confirm(all, most))
            if self.earlier is not None:
                take_confirmations(self.earlier, runs, [trial.number for trial in chosen], children)
            task = self.task(config, work / "confirmations", self.halves[1])
            race(runs, chosen, seeds, objective, lambda waiting: repeat(task, runs, waiting, trials, children))
            over = True
        finally:
            children.close(interrupted=not over)
        work.remove()
        search = self.concluded(config.tune, context.folder, trials.trials, chosen, runs.trials, seeds)
        log_search(self.live, trials.trials, search, figures(trials.trials, search.objective, self.budget.tokens))
        return search

    def tell_again(self, folder: Folder) -> None:
        """Give MLflow what it lacks of a search that is over: it was away, or the driver was killed, at the end."""
        children = Children(self.live, hardware=hardware())
        try:
            for kind in (TRIALS, CONFIRMATIONS):
                for trial in Ledger(folder / kind).trials:
                    children.ended(trial)
        finally:
            children.close(interrupted=False)

    def task(self, config: Searched, folder: Folder, blocks: Blocks) -> Task:
        """What all trials that are scored on the held-out text of `blocks` have in common, for the cluster as it is."""
        assert self.ready.blocks is not None, "a search needs blocks"
        return Task(
            folder=folder,
            distil=config.distil,
            teacher=self.ready.teacher,
            blocks=replace(self.ready.blocks, recorded=blocks),
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
            confirmed=confirmations(chosen, runs, seeds, tune.objective),
            candidates=len(chosen) - 1,
        )


def step_of(step: Reuse, search: Callable[..., Search], config: PipelineConfig, ready: Products) -> StageResult[Search]:
    """The search as a step, like those in `pipeline.run.graph`."""
    searched = Searched(tune=config.tune, distil=config.distil)
    return step(search, searched, ready.teacher, ready.blocks)
