"""What a search of more trials takes over from one of fewer: its trials, and the runs that confirm some of them.

In MLflow they are below the new search too, with all that they reported: its page is whole, and the earlier one's stays
as it is.
"""

from collections.abc import Collection
from dataclasses import replace

from pipeline.tuning.ledger import Ledger, Trial
from pipeline.tuning.tracking.runs import Children
from stages.storage import Folder

TRIALS, CONFIRMATIONS = "trials", "confirmations"
"""The two ledgers in a search's folder."""


def over(search: Folder) -> list[Trial]:
    """The trials of a search that ended, one way or another."""
    return [trial for trial in Ledger(search / TRIALS).trials if trial.is_over]


def take_trials(earlier: Folder, trials: Ledger, children: Children) -> None:
    """Those that `trials` lacks, under their numbers: all at the first start, the rest where that one was killed."""
    there = {trial.number for trial in trials.trials}
    for trial in over(earlier):
        if trial.number not in there:
            trials.take(replace(trial, run_id=children.started(replace(trial, run_id=None))))


def take_confirmations(earlier: Folder, runs: Ledger, chosen: Collection[int], children: Children) -> None:
    """The whole runs that confirm one of the trials `chosen`, but for those that `runs` has."""
    there = {(run.confirms, run.seed) for run in runs.trials}
    for run in Ledger(earlier / CONFIRMATIONS).trials:
        if run.state == "completed" and run.confirms in chosen and (run.confirms, run.seed) not in there:
            taken = replace(run, number=runs.next_number, run_id=None)
            runs.take(replace(taken, run_id=children.started(taken)))
            children.ended(taken)
