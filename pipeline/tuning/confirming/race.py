"""The confirmation as a race: a seed at a time, and who cannot win any more is not run again.

All that is known lies in the ledger, so a race that was killed goes on where it was, and drops whom it would have.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.tuning.confirming.paired_test import can_win
from pipeline.tuning.ledger import Ledger, Trial
from pipeline.tuning.verdict import Confirmed

FEWEST = 2
"""Seeds before anybody is dropped: one shows no spread."""


def fresh_seeds(seed: int, number: int) -> tuple[int, ...]:
    """Seeds that no trial has seen: trials have the run's own."""
    return tuple((seed + 1 + index) % 2**32 for index in range(number))


def race(
    runs: Ledger,
    chosen: Sequence[Trial],
    seeds: Sequence[int],
    objective: str,
    run: Callable[[Sequence[Trial]], None],
) -> None:
    """Run `chosen`, the paper's setting first, on the seeds, until no other can win any more.

    `run` is given runs from the ledger `runs` and returns when they are over. The first seeds are for all of `chosen`.
    """
    running = list(chosen)
    for number in range(FEWEST, len(seeds) + 1):
        schedule(runs, running, seeds[:number])
        asked = {(trial.number, seed) for trial in running for seed in seeds[:number]}
        waiting = [one for one in runs.trials if (one.confirms, one.seed) in asked and one.state != "completed"]
        if waiting:
            run(waiting)
        others = contenders(chosen, runs.trials, seeds, number, objective)
        if not others:
            return
        running = [chosen[0], *others]


def schedule(runs: Ledger, chosen: Sequence[Trial], seeds: Sequence[int]) -> None:
    """Write down the runs of every one of `chosen` on every seed, but for those that are there."""
    there = {(run.confirms, run.seed) for run in runs.trials}
    for seed in seeds:
        for trial in chosen:
            if (trial.number, seed) not in there:
                runs.begin(trial.setting, seed=seed, confirms=trial.number)


def contenders(
    chosen: Sequence[Trial], runs: Sequence[Trial], seeds: Sequence[int], number: int, objective: str
) -> list[Trial]:
    """Of `chosen` but the first, those that can still be called better after the first `number` seeds; none where the
    paper's setting has no value on one of them."""
    paper, *others = chosen
    reference = values_of(paper, runs, seeds[:number], objective)
    if len(reference) < number:
        return []
    found = []
    for trial in others:
        values = values_of(trial, runs, seeds[:number], objective)
        gains_M = np.subtract(reference[: len(values)], values)
        if len(values) == number and can_win(gains_M, seeds=len(seeds), candidates=len(others)):
            found.append(trial)
    return found


def values_of(trial: Trial, runs: Sequence[Trial], seeds: Sequence[int], objective: str) -> tuple[float, ...]:
    """The objective at the end of a trial's runs on `seeds`, up to the first that did not come to its end."""
    ends = {run.seed: run.objective(objective) for run in runs if run.confirms == trial.number and is_whole(run)}
    values = []
    for seed in seeds:
        value = ends.get(seed)
        if value is None:
            break
        values.append(value)
    return tuple(values)


def confirmations(
    chosen: Sequence[Trial], runs: Sequence[Trial], seeds: Sequence[int], objective: str
) -> tuple[Confirmed, ...]:
    """What a race came to: the paper's setting, then those of the others that came far enough.

    Raises RuntimeError where a run of the paper's setting did not come to its end: nothing can be compared with it.
    """
    paper, *others = [confirmation(trial, runs, seeds, objective) for trial in chosen]
    lost = [run for run in runs if run.confirms == chosen[0].number and not is_whole(run)]
    if paper is None or lost:
        why = next((run.why for run in lost if run.why), "no reason is known")
        raise RuntimeError(f"the paper's setting could not be run again, so nothing can be compared: {why}")
    return paper, *(one for one in others if one is not None)


def confirmation(trial: Trial, runs: Sequence[Trial], seeds: Sequence[int], objective: str) -> Confirmed | None:
    """A trial's setting with its values on the seeds it came to; None where these are too few to show a spread."""
    values = values_of(trial, runs, seeds, objective)
    why = next((run.why for run in runs if run.confirms == trial.number and run.state == "failed"), "")
    if len(values) < FEWEST:
        return None
    return Confirmed(trial=trial.number, setting=trial.setting, values=values, why=why)


def is_whole(run: Trial) -> bool:
    """Whether it came to its end."""
    return run.state == "completed"
