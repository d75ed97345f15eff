"""Which metrics a run in MLflow holds already: a (metric, step) is sent once, whoever was killed or away meanwhile.

A training that goes on tells again what it had told up to its checkpoint, since the driver's death may have taken the
last of it; a server that died may have written what it never acknowledged. MLflow itself would keep both values.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Metric


class SentMetrics:
    """What is held, by metric; asks the store once for each metric where it cannot know. Used by one thread."""

    def __init__(self, read: Callable[[str], Iterable[int]], *, fresh: bool) -> None:
        """`read` gives the steps that the store holds of a metric. `fresh`: the run has just been made, and holds
        nothing."""
        self._read, self._fresh = read, fresh
        self._steps: dict[str, set[int]] = {}

    def without(self, metrics: "Sequence[Metric]") -> "list[Metric]":
        """Those that are not held, each (metric, step) once. Raises what `read` raises."""
        new: dict[tuple[str, int], Metric] = {}
        for metric in metrics:
            if metric.step not in self._of(metric.key):
                new.setdefault((metric.key, metric.step), metric)
        return list(new.values())

    def add(self, metrics: "Sequence[Metric]") -> None:
        """Note that the store has taken these."""
        for metric in metrics:
            self._of(metric.key).add(metric.step)

    def doubt(self, metrics: "Sequence[Metric]") -> None:
        """Note that it may have taken these or some of them: what is held of their kinds is asked again."""
        self._fresh = False
        for metric in metrics:
            self._steps.pop(metric.key, None)

    def _of(self, key: str) -> set[int]:
        if key not in self._steps:
            self._steps[key] = set() if self._fresh else set(self._read(key))
        return self._steps[key]
