"""What of a search's trials can be compared, and which of the searched parameters matters by it."""

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import create_trial

from pipeline.config.overrides import Scalar
from pipeline.tuning.ledger import Trial

LEAST = 4
"""Trials below which nothing is said of importance."""


def importances(trials: Sequence[Trial], objective: str) -> dict[str, float]:
    """Share of each of the sampler's parameters in how much the objective varies, the largest first; they add up to 1.

    Only what was measured after equally many tokens is compared. Empty where it cannot be told: fewer than four such
    trials, an objective that does not vary, or no parameter that does.
    """
    _, measured = comparable(trials, objective)
    points = {trial.number: trial.point for trial in trials if trial.number in measured and trial.point}
    names = [name for name in next(iter(points.values()), {}) if all(name in point for point in points.values())]
    columns = {name: [point[name] for point in points.values()] for name in names}
    varying = {name: _distribution(column) for name, column in columns.items() if len(set(column)) > 1}
    if len(points) < LEAST or not varying:
        return {}
    # One setting that diverges has nearly all of the variance, and would leave nothing to say of the others.
    top = ceiling([measured[number] for number in points])
    values = {number: min(measured[number], top) for number in points}
    return _fanova(varying, points, values) if len(set(values.values())) > 1 else {}


def comparable(trials: Sequence[Trial], objective: str) -> tuple[int, dict[int, float]]:
    """(tokens, objective by trial number) of the most trials that reported after equally many tokens.

    ASHA stops trials at different lengths, and a longer training is lower whatever its setting. Where several numbers
    of tokens have equally many trials, the largest: the nearest to what the search is after.
    """
    at: dict[int, dict[int, float]] = {}
    for trial in trials:
        for tokens, value in curve(trial, objective):
            at.setdefault(tokens, {})[trial.number] = value
    return max(at.items(), key=lambda item: (len(item[1]), item[0]), default=(0, {}))


def curve(trial: Trial, objective: str) -> list[tuple[int, float]]:
    """(tokens, objective) of its reports, without those that are no number."""
    pairs = [(report.tokens, report.metrics.get(objective, math.nan)) for report in trial.reports]
    return [(tokens, value) for tokens, value in pairs if math.isfinite(value)]


def ceiling(values: Sequence[float]) -> float:
    """The largest value that is no outlier (Tukey's fence), so that one bad report does not squash the others."""
    low, high = np.quantile(values, (0.25, 0.75))
    return max(value for value in values if value <= high + 1.5 * (high - low))


def _fanova(
    distributions: Mapping[str, BaseDistribution],
    points: Mapping[int, Mapping[str, Scalar]],
    values: Mapping[int, float],
) -> dict[str, float]:
    """fANOVA (Hutter et al. 2014), as Optuna has it, with a fixed seed.

    Of Optuna's evaluators, because it uses all of some 16 trials: a forest is fitted to every one of them, and a bar is
    a share of variance. PED-ANOVA, the default, compares the best tenth with the rest: two trials with fourteen.
    """
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="minimize")
            for number, point in points.items():
                params = {name: point[name] for name in distributions}
                study.add_trial(create_trial(params=params, distributions=dict(distributions), value=values[number]))
            found = optuna.importance.get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except RuntimeError:  # every tree of the forest is constant
        return {}
    finally:
        optuna.logging.set_verbosity(level)
    return {name: float(share) for name, share in found.items()}


def _distribution(column: Sequence[Scalar]) -> BaseDistribution:
    numbers = [value for value in column if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(column):
        return FloatDistribution(min(numbers), max(numbers))
    return CategoricalDistribution(sorted(set(column), key=str))
