"""Metrics arrive in order, once each, whatever the receiver does meanwhile."""

import threading
import time
from collections.abc import Sequence

import pytest

from pipeline.tracking.delivery import Delivery, Refused


class Receiver:
    """Takes items; away for the first `outage` calls, and refuses batches that hold `poison`."""

    def __init__(self, outage: int = 0, poison: int | None = None) -> None:
        self.taken: list[int] = []
        self.calls = 0
        self._outage, self._poison = outage, poison

    def __call__(self, items: Sequence[int]) -> None:
        self.calls += 1
        if self.calls <= self._outage:
            raise ConnectionError("connection refused")
        if self._poison in items:
            raise Refused("no such thing")
        self.taken += items


def test_delivery_many_small_puts_arrive_in_order_in_few_batches() -> None:
    receiver = Receiver()
    delivery = Delivery(receiver, every=0.05)
    for step in range(2500):
        delivery.put([step])
    assert delivery.close() == []
    assert receiver.taken == list(range(2500))
    assert receiver.calls < 20


def test_delivery_receiver_away_for_a_while_loses_nothing() -> None:
    receiver = Receiver(outage=3)
    delivery = Delivery(receiver, every=0.02, batch=10)
    for step in range(100):
        delivery.put([step])
    time.sleep(0.1)
    assert delivery.close() == []
    assert receiver.taken == list(range(100))


def test_delivery_receiver_that_never_comes_back_is_told_at_the_end() -> None:
    delivery = Delivery(Receiver(outage=10**9), every=0.02)
    delivery.put(range(1234))
    (problem,) = delivery.close(patience=0.3)
    assert "1,234" in problem
    assert "connection refused" in problem


def test_delivery_over_capacity_keeps_the_newest() -> None:
    receiver = Receiver()
    delivery = Delivery(receiver, every=60, capacity=10)
    delivery.put(range(25))
    (problem,) = delivery.close()
    assert receiver.taken == list(range(15, 25))
    assert "15 metric" in problem


def test_delivery_refused_batch_is_not_sent_again_and_the_next_arrives() -> None:
    receiver = Receiver(poison=3)
    delivery = Delivery(receiver, every=60, batch=5)
    delivery.put(range(10))
    (problem,) = delivery.close()
    assert receiver.taken == [5, 6, 7, 8, 9]
    assert receiver.calls == 2
    assert "no such thing" in problem


def test_delivery_put_while_the_receiver_hangs_returns_at_once() -> None:
    delivery = Delivery(lambda items: time.sleep(0.4), every=0.01)
    delivery.put([1])
    time.sleep(0.1)
    start = time.perf_counter()
    delivery.put([2])
    assert time.perf_counter() - start < 0.05
    assert delivery.close() == pytest.approx([])


def test_delivery_close_says_once_what_it_waits_for_and_delivers_when_the_receiver_is_back() -> None:
    receiver, said = Receiver(outage=2), []
    delivery = Delivery(receiver, every=0.02)
    delivery.put(range(7))
    assert delivery.close(patience=30, say=said.append, quiet=0.1) == []
    assert receiver.taken == list(range(7))
    (line,) = said
    assert line == "7 metric values are not delivered yet (last error: connection refused); trying for 30 s"


def test_delivery_batch_that_is_on_its_way_when_patience_ends_counts_as_not_delivered() -> None:
    hanging = threading.Event()
    delivery = Delivery(lambda items: hanging.wait(30) and None, every=0.01)
    delivery.put(range(5))
    time.sleep(0.1)
    (problem,) = delivery.close(patience=0.2)
    hanging.set()
    assert problem.startswith("5 metric values were not delivered")
