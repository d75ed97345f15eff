"""Trying to record something of a search, which no failure of MLflow's may stop."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.tracking.delivery import first_line
from pipeline.tracking.live_run import LiveRun

Result = TypeVar("Result")


def attempt(live: LiveRun, what: str, action: Callable[[], Result]) -> Result | None:
    """What `action` gives; None where it fails, and then it is noted."""
    try:
        return action()
    except Exception as error:  # a store raises what it likes, a drawing too; no search ends for that
        live.problems.append(f"{what} was not recorded in run {live.run_id}: {first_line(error)}")
        return None
