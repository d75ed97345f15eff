"""Ray Tune over the trials: Optuna proposes, ASHA stops, the ledger and MLflow are told by callbacks in the driver."""

import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
import ray.tune
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from pipeline.config.overrides import Scalar
from pipeline.tuning import trial as process
from pipeline.tuning.budget import Thrifty
from pipeline.tuning.concurrency import DRIVER_CPUS
from pipeline.tuning.config import PAPER, TuneConfig
from pipeline.tuning.ledger import Ledger, Trial
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


class Proposals(OptunaSearch):
    """TPE's proposals (Bergstra et al. 2011), each in the ledger before its trial starts; trial 0 is the paper's."""

    def __init__(self, tune: TuneConfig, ledger: Ledger, *, paper: Mapping[str, Scalar], seed: int) -> None:
        trials = ledger.trials
        self.ledger, self.seed = ledger, seed
        self.unfinished = [trial for trial in trials if not trial.is_over]
        self.numbers: dict[str, int] = {}
        points = [trial.point for trial in self.unfinished] if trials else [dict(paper)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # multivariate and constant_liar are called experimental, since 2021
            sampler = optuna.samplers.TPESampler(
                seed=(seed + len(trials)) % 2**32,  # not the same random draws again in a search that goes on
                n_startup_trials=tune.startup,
                multivariate=True,
                constant_liar=True,
            )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        super().__init__(
            distributions(tune), metric=tune.objective, mode="min", points_to_evaluate=points, sampler=sampler
        )
        for trial in trials:
            if trial.is_over:
                value = trial.objective(tune.objective) if trial.state != "failed" else None
                self.add_evaluated_point(trial.point, math.inf if value is None else value)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial: one that was interrupted, or a new one."""
        point = super().suggest(trial_id)
        if point is None:
            return None
        if self.unfinished:
            trial = self.unfinished.pop(0)
        else:
            first = {} if self.ledger.trials else PAPER  # also the fields of it that are not searched
            trial = self.ledger.begin(first | setting_of(point), point=point, seed=self.seed)
        self.numbers[trial_id] = trial.number
        return told(trial)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells Optuna; a setting that failed counts as the worst there is, so that the search keeps off."""
        super().on_trial_complete(trial_id, result, error)
        if error:
            self.add_evaluated_point(self.ledger[self.numbers[trial_id]].point, math.inf)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a search goes on from its ledger."""


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
