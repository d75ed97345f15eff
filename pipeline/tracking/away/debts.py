"""What a run tells MLflow beside its metrics, and how that gets there where MLflow is away: at the end, or later."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking.away.undelivered import Undelivered, Value, deliver, keep, summary
from pipeline.tracking.checks.client import hurried
from pipeline.tracking.checks.probe import cause_of
from pipeline.tracking.delivery import first_line
from pipeline.tracking.retry import is_refusal, retry_until

if TYPE_CHECKING:
    from mlflow.entities import Metric


class Debts:
    """What a run owes MLflow. Nothing here raises for what MLflow does: what it refused is in `problems`."""

    def __init__(
        self,
        client: Any,
        owner: Undelivered,
        workdir: Path,
        problems: list[str],
        say: Callable[[str], None],
    ) -> None:
        """`owner`: names store and run, and owes nothing yet. `workdir`: where is kept what does not arrive. `say` is
        told what is waited for."""
        self._client, self._owner, self._workdir = client, owner, workdir
        self._problems, self._say = problems, say
        self._owed: list[tuple[str, Undelivered]] = []
        self._why = "no answer"
        self.lacks = ""
        """What cannot be kept, only done again by the same command; for a person."""

    def tell(self, what: str, **fields: Any) -> str | None:
        """Let MLflow have some fields of `Undelivered`, now or, where it is away, at the end. `what`: for a person.
        Gives the reason where it did not take them now."""
        item = replace(self._owner, **fields)
        try:
            deliver(self._client, item)
        except Exception as error:  # stores raise what they like, for metrics and for files; no training ends for it
            if is_refusal(error):
                self._note(what, error)
            else:
                self.owe(what, item)
            return first_line(error)
        return None

    def owe(self, what: str, item: Undelivered) -> None:
        """Tell MLflow at the end what it did not take now, of this run or of one below it."""
        self._owed.append((what, item))

    def forgive(self) -> None:
        """Nothing is owed: the run is not going to be."""
        self._owed.clear()

    def settle(self, deadline: float, end: Callable[[], object]) -> None:
        """Tell MLflow what it has not taken yet, until `deadline`. Once it was waited for in vain, nothing else is
        tried but the end of the run: by `end`, since MLflow's own record of the active run goes with it."""
        away = False
        for what, item in self._owed[:]:
            is_end = bool(item.status) and item.run_id == self._owner.run_id
            if away and not is_end:
                continue
            action = partial(deliver, self._client, item, end if is_end else None)
            with hurried() if away else nullcontext():
                error = self.patiently(what, action, time.monotonic() if away else deadline)
            if error is not None and not is_refusal(error):
                away, self._why = True, cause_of(error)
                continue
            self._owed.remove((what, item))
            if error is not None:
                self._note(what, error)

    def keep(self, values: Sequence[Value]) -> str:
        """Put what is owed, and the run's `values` that were not delivered, beside the run; a sentence about it, empty
        where nothing is owed."""
        items = [item for _, item in self._owed]
        if values:
            items = [replace(self._owner, metrics=values), *items]
        if not items:
            begun = f"MLflow at {self._owner.store} was away and lacks {self.lacks}"
            return f"{begun}: the same command makes them." if self.lacks else ""
        try:
            keep(self._workdir, items)
        except (OSError, ValueError) as error:  # a full disk, say
            self._problems.append(f"{summary(items)} could not be kept in {self._workdir} either: {first_line(error)}")
        lacks = ", and ".join(filter(None, [summary(items), self.lacks]))
        return (
            f"MLflow at {self._owner.store} is away ({self._why}) and lacks {lacks}: kept in {self._workdir}, and "
            f"delivered by the same command or `distil sync {self._workdir}`."
        )

    def patiently(self, what: str, action: Callable[[], object], deadline: float) -> Exception | None:
        """Attempt it until `deadline`, by the monotonic clock; what it failed with, or None."""
        return retry_until(action, deadline, lambda reason: self._say(f"{what} of the run waits ({reason})"))

    def _note(self, what: str, error: Exception) -> None:
        self._problems.append(f"{what} of run {self._owner.run_id} was not recorded: {first_line(error)}")


def owed_of(
    store: str, rest: "Iterable[tuple[str, Metric]]", ends: Mapping[str, tuple[str, dict[str, str]]]
) -> list[Undelivered]:
    """What several runs lack: values by the run that they are of, and of some runs the end, as (status, tags)."""
    values: dict[str, list[Value]] = {run_id: [] for run_id in ends}
    for run_id, metric in rest:
        values.setdefault(run_id, []).append((metric.key, metric.step, metric.value, metric.timestamp))
    now = int(time.time() * 1000)
    return [
        Undelivered(store=store, run_id=run_id, metrics=metrics, status=status, tags=tags, ended=now)
        for run_id, metrics in values.items()
        for status, tags in [ends.get(run_id, ("", {}))]
    ]
