"""SIGTERM: the notice that a machine gives before it is taken away, or a scheduler before it moves a job.

While a training runs, it is asked to stop: its workers save a checkpoint after the step they are at, and it raises
`Preempted`. At any other time `Terminated` is raised in the main thread at once, where it may be: what a stage made is
either recorded or made again. A second SIGTERM does so too.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TRAINING_SECONDS = 5.0
"""A training asks every half a second whether it should stop: who asked within this time is taken for running."""


class Terminated(BaseException):
    """SIGTERM came while no training ran. Like KeyboardInterrupt no `Exception`: nobody may take it for a fault."""


class StopSignal:
    """Whether SIGTERM came; reacts to it once `listen` was called."""

    def __init__(self) -> None:
        self.asked = False
        self._polled = -TRAINING_SECONDS
        self._lost: Exception | None = None

    def should_stop(self) -> bool:
        """What a training asks twice a second, from whichever thread."""
        self._polled = time.monotonic()
        return self.asked

    def check(self) -> None:
        """Raise `Terminated` where a SIGTERM found a training that then came to its end by itself."""
        if self._lost is not None:
            raise self._lost
        if self.asked:
            raise Terminated

    def lose(self, why: Exception) -> None:
        """Have `why` raised in the main thread, from whichever thread this is called: the run must go no further."""
        self._lost = why
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def listen(self) -> None:
        """React to SIGTERM from now on. To be called again after `ray.init`, which sets a handler of its own."""
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread do it
            signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._lost is not None:
            raise self._lost
        again, self.asked = self.asked, True
        if again or time.monotonic() - self._polled > TRAINING_SECONDS:
            raise Terminated


@contextmanager
def stopping() -> Iterator[StopSignal]:
    """React to SIGTERM while the block runs, and as before afterwards."""
    stop, before = StopSignal(), signal.getsignal(signal.SIGTERM)
    stop.listen()
    try:
        yield stop
    except SystemExit as error:
        if error.code == signal.SIGTERM:  # Ray's own handler, which is there for a moment while it starts
            raise Terminated from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
