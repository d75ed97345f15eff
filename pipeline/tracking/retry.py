"""How long an MLflow server that is away is waited for: long at the end of a run, hardly once it was told to stop."""

import time
from collections.abc import Callable

from pipeline.tracking.delivery import first_line

PATIENCE, NOTICE = 600.0, 10.0
"""Seconds that a server which is away is waited for at the end of a run; of one that was told to stop."""
QUIET = 5.0
"""Seconds of such a wait after which it is spoken of."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST")
"""MLflow's codes for a request that will never succeed."""


def is_refusal(error: Exception) -> bool:
    """Whether MLflow answered, and said no: asking again would not help."""
    return getattr(error, "error_code", None) in REFUSALS


def retry_until(action: Callable[[], object], deadline: float, tell: Callable[[str], object]) -> Exception | None:
    """Attempt it until it succeeds (None), is refused, or `deadline` of the monotonic clock has passed (the error).

    `tell` is told once, after the first failure, why it waits.
    """
    told = False
    while True:
        try:
            action()
            return None
        except Exception as error:  # whatever a store raises, the run is over and only waits for this
            if is_refusal(error) or time.monotonic() >= deadline:
                return error
            if not told:
                tell(first_line(error))
            told = True
        time.sleep(1.0)
