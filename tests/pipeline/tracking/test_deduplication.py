"""A metric's step is sent once, whatever the store did with what it never acknowledged."""

from collections.abc import Sequence

import pytest
from mlflow.entities import Metric

from pipeline.tracking.deduplication import SentMetrics
from pipeline.tracking.delivery import Delivery


class Store:
    """Keeps every value it is sent, as MLflow does, and loses its answers or itself as it is told to."""

    def __init__(self, faults: str = "") -> None:
        """`faults`, a letter a request: `a`, it is kept and the answer is lost; `r`, it is not kept; `h`, half of it
        is kept; any other: all is well."""
        self.kept: list[tuple[str, int]] = []
        self.reads: list[str] = []
        self.faults = iter(faults)

    def steps_of(self, key: str) -> list[int]:
        self.reads.append(key)
        return [step for name, step in self.kept if name == key]

    def log_batch(self, metrics: Sequence[Metric]) -> None:
        fault = next(self.faults, ".")
        taken = {"r": 0, "h": len(metrics) // 2}.get(fault, len(metrics))
        self.kept += [(metric.key, metric.step) for metric in metrics[:taken]]
        if fault in "arh":
            raise ConnectionError("the connection died")


def values(*steps: int, names: Sequence[str] = ("loss", "lr")) -> list[Metric]:
    return [Metric(name, 1.0, 0, step) for step in steps for name in names]


def send(held: SentMetrics, store: Store, metrics: Sequence[Metric]) -> None:
    """What `LiveRun` does for a batch."""
    new = held.without(metrics)
    try:
        store.log_batch(new)
    except ConnectionError:
        held.doubt(new)
        raise
    held.add(new)


def pairs(*steps: int) -> list[tuple[str, int]]:
    return [(name, step) for step in steps for name in ("loss", "lr")]


@pytest.mark.parametrize("faults", ["a", "r", "h", "aa", ".h.a", "rha.ahr"])
def test_held_delivery_over_a_connection_that_dies_keeps_every_value_once(faults: str) -> None:
    store = Store(faults)
    held = SentMetrics(store.steps_of, fresh=True)
    delivery: Delivery[Metric] = Delivery(lambda items: send(held, store, items), every=0.01, batch=7)
    for step in range(20):
        delivery.put(values(step))
    assert delivery.close() == []
    assert sorted(store.kept) == sorted(pairs(*range(20)))


def test_held_fresh_run_asks_nothing_and_a_continued_one_once_a_metric() -> None:
    store = Store()
    held = SentMetrics(store.steps_of, fresh=True)
    send(held, store, values(1, 2))
    assert store.reads == []
    again = SentMetrics(store.steps_of, fresh=False)
    for step in (1, 2, 3):
        send(again, store, values(step))
    assert store.reads == ["loss", "lr"]
    assert store.kept == pairs(1, 2, 3)


def test_held_metric_that_comes_twice_in_a_batch_is_sent_once() -> None:
    store = Store()
    send(SentMetrics(store.steps_of, fresh=True), store, values(1, 2, 1))
    assert store.kept == pairs(1, 2)
