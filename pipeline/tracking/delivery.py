"""Metrics on their way to a tracking server: handed over at once, sent by a thread, kept while the server is away.

A training step must not wait for a database (20 ms on SQLite, up to 130 ms over http), and a server that restarts in
the middle of a week's training must cost it nothing. Knows no MLflow: it is given a callable that sends.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pipeline.config.redaction import redacted

Item = TypeVar("Item")

LONGEST_PAUSE = 30.0
"""Seconds between attempts, at most, while nobody answers."""


class Refused(Exception):
    """Raised by a `send` whose receiver answered and said no: the same batch must not be sent again."""


class Delivery(Generic[Item]):
    """Sends items in order and in batches from its own thread; `put` never blocks and never fails."""

    def __init__(
        self,
        send: Callable[[Sequence[Item]], None],
        *,
        every: float = 2.0,
        batch: int = 1000,
        capacity: int = 500_000,
    ) -> None:
        """`every`: seconds between deliveries. `capacity`: items kept at most, the oldest go first (half an hour of
        a fast run is about 100,000)."""
        self._send, self._every, self._batch, self._capacity = send, every, batch, capacity
        self._waiting: deque[Item] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._errors: list[str] = []
        self._dropped = 0
        self._on_the_way: list[Item] = []
        self._given_up = False
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def put(self, items: Sequence[Item]) -> None:
        """Hand items over; microseconds, from any thread."""
        with self._lock:
            self._waiting.extend(items)
            while len(self._waiting) > self._capacity:
                self._waiting.popleft()
                self._dropped += 1

    def close(
        self, patience: float = 30.0, *, say: Callable[[str], object] | None = None, quiet: float = 5.0
    ) -> list[str]:
        """Deliver the rest, trying for `patience` seconds; what went wrong for good, as sentences (empty: nothing).

        `say` is told once, after `quiet` seconds, what is waited for. Ctrl-C gives up: it is raised once more, and
        another call with no patience tells what is lost. `rest` gives what could still be delivered another time.
        """
        self._closing.set()
        self._thread.join(min(quiet, patience))
        if self._thread.is_alive() and patience > quiet:
            if say is not None:
                say(
                    f"{self._left():,} metric values are not delivered yet{self._reason()}; trying for {patience:.0f} s"
                )
            self._thread.join(patience - quiet)
        lost = self._dropped + self._left()
        return [f"{lost:,} metric values were not delivered{self._reason()}"] if lost else []

    def rest(self) -> list[Item]:
        """What was not delivered, for whoever keeps it; from now on nothing is sent. An item that was on its way may
        have arrived all the same."""
        with self._lock:
            self._given_up = True
            items = [*self._on_the_way, *self._waiting]
            self._on_the_way = []
            self._waiting.clear()
            return items

    def _left(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._on_the_way)

    def _reason(self) -> str:
        with self._lock:
            return f" (last error: {self._errors[-1]})" if self._errors else ""

    def _work(self) -> None:
        pause = self._every
        while True:
            closing = self._closing.wait(pause)
            delivered = self._deliver()
            if closing and delivered:
                return
            if closing:
                time.sleep(0.5)  # the event no longer holds us back
            pause = self._every if delivered else min(2 * pause, LONGEST_PAUSE)

    def _deliver(self) -> bool:
        """Send batch after batch until nothing waits (True) or one attempt fails (False, and its items wait on)."""
        while True:
            with self._lock:
                items = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
                self._on_the_way = items
            if not items:
                return True
            try:
                self._send(items)
            except Refused as refusal:
                with self._lock:
                    self._dropped += len(items)
                    self._on_the_way = []
                    self._errors.append(str(refusal))
            except Exception as error:  # whatever it is, training goes on; `close` tells
                with self._lock:
                    self._errors[:] = [*self._errors[-9:], first_line(error)]
                    if not self._given_up:  # else `rest` has handed them out
                        self._waiting.extendleft(reversed(items))
                    self._on_the_way = []
                return False
            else:
                with self._lock:
                    self._on_the_way = []


def first_line(error: BaseException) -> str:
    """An error in one line of a bearable length, without the secrets of the addresses in it."""
    return redacted((str(error).splitlines() or [""])[0])[:300] or type(error).__name__
