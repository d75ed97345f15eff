"""The finished search that a search of more trials goes on from, and whether its budget allows for it."""

import math
from dataclasses import replace

from pipeline.config.schema import PipelineConfig
from pipeline.records.products import Products
from pipeline.records.record import Stale, read_record
from pipeline.records.reuse import Reuse, StageResult
from pipeline.tuning.budget import budget_of
from pipeline.tuning.extension.take_over import over
from pipeline.tuning.stage import Searching, step_of
from pipeline.tuning.tracking.which_search import STAGE
from pipeline.tuning.verdict import Search
from stages.errors import InputError
from stages.storage import Folder


def earlier_search(plan: Reuse, config: PipelineConfig, ready: Products) -> StageResult[Search] | None:
    """Of the finished searches that are this one but for fewer trials, or a smaller `tune.spend`, that of most trials.

    Raises `InputError` where the trials yet to come do not fit into `tune.spend` beside what those have cost.
    """
    found: dict[int, StageResult[Search]] = {}
    place = config.root / STAGE
    for name in place.names():
        limits = _limits(place / name)
        if limits is None or limits[0] >= config.tune.trials or limits[1] > config.tune.spend:
            continue
        trials, spend = limits
        smaller = replace(config, tune=replace(config.tune, trials=trials, spend=spend))
        made = step_of(plan, Searching.search, smaller, ready)
        if made.reused and made.fingerprint == name:  # else there is another difference
            found[trials] = made
    if not found:
        return None
    earlier = found[max(found)]
    _check_affords(config, earlier, ready)
    return earlier


def _limits(folder: Folder) -> tuple[int, float] | None:
    """(trials, spend) of a recorded search; None where there is no record that can be read."""
    try:
        record = read_record(folder)
    except Stale:
        return None
    tune = record.identity.config["tune"] if record is not None else None
    return None if tune is None else (tune["trials"], tune["spend"])


def _check_affords(config: PipelineConfig, earlier: StageResult[Search], ready: Products) -> None:
    assert ready.blocks is not None, "a search needs blocks"
    budget = budget_of(config.tune, config.distil, ready.blocks.artifact)
    trials = over(earlier.folder)
    spent, needed = sum(trial.tokens for trial in trials), budget.committed(trials)
    if needed <= budget.limit:
        return
    least = math.ceil(100 * needed / budget.tokens) / 100
    raise InputError(
        f"the {len(trials)} trials of search {earlier.artifact.mlflow_run_id} have cost {spent / budget.tokens:.2f} "
        f"whole trials, with {config.tune.trials - len(trials)} more it is {least:g} at least, and tune.spend is "
        f"{config.tune.spend:g}: give --tune.spend {math.ceil(least)} or more."
    )
