"""Ray Tune over the trials: Optuna proposes, ASHA stops, the ledger and MLflow are told by callbacks in the driver."""

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
import ray.tune
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from pipeline.config.overrides import Scalar
from pipeline.tuning import trial as process
from pipeline.tuning.budget import Thrifty
from pipeline.tuning.concurrency import DRIVER_CPUS
from pipeline.tuning.config import PAPER, TuneConfig
from pipeline.tuning.ledger import Ledger, State, Trial
from pipeline.tuning.space import distributions, setting_of
from pipeline.tuning.tracking.runs import Children
from pipeline.tuning.trial import Task
from pipeline.tuning.trial_events import TrialEvents

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no files of its own: the ledger and MLflow have it all
    "RAY_AIR_NEW_OUTPUT": "0",  # which talks even when told to be silent
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own makes an interrupted search look like a finished one
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


def search(
    tune: TuneConfig, task: Task, ledger: Ledger, children: Children, *, paper: Mapping[str, Scalar], seed: int
) -> None:
    """Try settings until `tune.trials` are over; goes on with what `ledger` knows. `paper` is trial 0 as a point."""
    over = [trial for trial in ledger.trials if trial.is_over]
    proposals = Proposals(tune, ledger, paper=paper, seed=seed)
    scheduler = Thrifty(task.budget, ledger, tune.objective)
    scheduler.remember(over)
    _fit(task, TrialEvents(task, ledger, children), tune.trials - len(over), search_alg=proposals, scheduler=scheduler)


def repeat(task: Task, runs: Ledger, waiting: Sequence[Trial], trials: Ledger, children: Children) -> None:
    """Run those of `runs` that are `waiting`, each to the end of the budget; they confirm some of `trials`."""
    _fit(task, TrialEvents(task, runs, children, parents=trials), len(waiting), search_alg=Waiting(waiting))


def _fit(task: Task, follow: TrialEvents, samples: int, **how: Any) -> None:
    if not samples:
        return
    os.environ.update(SETTINGS)
    place = task.folder / "ray"
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(ray.tune.with_parameters(process.run, task=task), {"CPU": DRIVER_CPUS}),
        tune_config=ray.tune.TuneConfig(num_samples=samples, max_concurrent_trials=task.concurrency.trials, **how),
        run_config=ray.tune.RunConfig(
            name=f"search-{time.time_ns():x}",
            storage_path=place.uri,
            callbacks=[follow],
            verbose=0,
        ),
    )
    with hushed(logging.getLogger("ray.tune")):
        tuner.fit()
    place.remove()


@contextmanager
def hushed(logger: logging.Logger) -> Iterator[None]:
    """No word from a logger while the block lasts, unless it has been told to inform: Ray Tune logs the traceback of
    every trial that fails, and here a trial may fail."""
    before = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def told(trial: Trial) -> dict[str, Any]:
    """What a trial's process is told, as Ray Tune's config."""
    return {"number": trial.number, "seed": trial.seed, "setting": trial.setting}


class Proposals(Searcher):
    """TPE's proposals (Bergstra et al. 2011), each in the ledger before its trial starts; trial 0 is the paper's.

    Ray Tune's own `OptunaSearch` tells Optuna the last value of a trial that was stopped as if it were one at the full
    budget, among which it is bad whatever the setting is worth. Here it is told as pruned, with the values it reported:
    TPE ranks the pruned behind the whole ones, and among themselves by how far they came, then by their last value.
    """

    def __init__(self, tune: TuneConfig, ledger: Ledger, *, paper: Mapping[str, Scalar], seed: int) -> None:
        super().__init__(metric=tune.objective, mode="min")
        trials = ledger.trials
        self.ledger, self.seed, self.objective = ledger, seed, tune.objective
        self.unfinished = [trial for trial in trials if not trial.is_over]
        self.numbers: dict[str, int] = {}
        self.space, self.asked = distributions(tune), dict[str, optuna.Trial]()
        self.study = study_of(tune, seed=(seed + len(trials)) % 2**32)  # not the same draws again in one that goes on
        for trial in trials:
            if trial.is_over:
                self.study.add_trial(told_to_optuna(trial, self.space, tune.objective))
        for point in [trial.point for trial in self.unfinished] if trials else [dict(paper)]:
            self.study.enqueue_trial(point)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next trial: one that was interrupted, or a new one."""
        self.asked[trial_id] = self.study.ask(fixed_distributions=self.space)
        if self.unfinished:
            trial = self.unfinished.pop(0)
        else:
            point = self.asked[trial_id].params
            first = {} if self.ledger.trials else PAPER  # also the fields of it that are not searched
            trial = self.ledger.begin(first | setting_of(point), point=point, seed=self.seed)
        self.numbers[trial_id] = trial.number
        return told(trial)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells Optuna how it ended; by then the ledger has all its reports, though not its end."""
        asked = self.asked.pop(trial_id, None)
        if asked is None:  # Ray Tune may say it twice
            return
        trial = self.ledger[self.numbers[trial_id]]
        state: State = "failed"
        if not error and result and "step" in result:
            state = "completed" if result["step"] >= result["steps"] else "stopped early"
        self.study.tell(asked, state=TrialState.FAIL)  # which no sampler looks at: what it was is in the next
        self.study.add_trial(told_to_optuna(replace(trial, state=state), self.space, self.objective))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search goes on from its ledger."""


def study_of(tune: TuneConfig, *, seed: int) -> optuna.Study:
    """A study in memory that makes the objective small by TPE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # multivariate and constant_liar are called experimental, since 2021
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=tune.startup, multivariate=True, constant_liar=True
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler, direction="minimize")


def told_to_optuna(trial: Trial, space: Mapping[str, BaseDistribution], objective: str) -> FrozenTrial:
    """A trial that is over, as Optuna is told of it, in a search as in one that goes on.

    A setting that failed is pruned without a value: that ranks last, so that the search keeps off. (As a whole trial
    with an infinite value it would rank before all that were stopped early.)
    """
    whole, failed = trial.state == "completed", trial.state == "failed"
    values = [report.metrics[objective] for report in trial.reports]
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if whole else TrialState.PRUNED,
        value=trial.objective(objective) if whole else None,
        params=trial.point,
        distributions=dict(space),
        intermediate_values={} if failed else dict(enumerate(values, start=1)),
    )


class Waiting(Searcher):
    """Proposes given trials, one after the other."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        super().__init__()
        self.trials = list(trials)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next of them."""
        return told(self.trials.pop(0)) if self.trials else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing follows from it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search goes on from its ledger."""
