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


def retry_until(action: Callable[[], object], deadline: float, tell: Callable[[str], object]) -> str | None:
    """Attempt it until it succeeds (None), is refused, or `deadline` of the monotonic clock has passed (the reason).

    `tell` is told once, after the first failure, why it waits.
    """
    from mlflow.exceptions import MlflowException

    told = False
    while True:
        try:
            action()
            return None
        except (MlflowException, OSError) as error:  # OSError: also what the http client raises
            if getattr(error, "error_code", None) in REFUSALS or time.monotonic() >= deadline:
                return first_line(error)
            if not told:
                tell(first_line(error))
            told = True
        time.sleep(1.0)
