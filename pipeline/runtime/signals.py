"""SIGTERM: the notice that a machine gives before it is taken away, or a scheduler before it moves a job. SIGHUP alike:
a terminal that closes; but not under nohup, which has it ignored.

While a training runs, it is asked to stop: its workers save a checkpoint after the step they are at, and it raises
`Preempted`. At any other time `Terminated` is raised in the main thread at once, where it may be: what a stage made is
either recorded or made again. A second signal does so too.

A local Ray's processes have a session of their own: what tells the driver's process group tells them nothing. Whoever
tells every process of a job (systemd, scancel) ends them at once, before a worker can save; then `Terminated` is raised
as soon as that is seen, and the newest checkpoint is the one before.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TRAINING_SECONDS = 5.0
"""A training asks every half a second whether it should stop: who asked within this time is taken for running."""
GONE_SECONDS = 0.5
"""Between two looks at whether Ray is still there."""
NOTICES = (signal.SIGTERM, signal.SIGHUP)
STREAMS = (1, 2)
"""Standard output and error, which are gone with a terminal."""


def _never() -> bool:
    """Nothing that is needed can go away."""
    return False


class Terminated(KeyboardInterrupt):
    """A signal came while no training ran. No `Exception`: nobody may take it for a fault.

    A KeyboardInterrupt, since Ray lets nothing else that a handler raises out of `ray.get`, and that as a plain one:
    whoever meets one asks `StopSignal.check`.
    """

    def __init__(self, signal: str = "SIGTERM") -> None:
        super().__init__(signal)
        self.signal = signal
        """Which it was."""


class StopSignal:
    """Whether SIGTERM or SIGHUP came; reacts to them once `listen` was called."""

    def __init__(self) -> None:
        self.asked = False
        self.by = "SIGTERM"
        """Which of them came."""
        self._polled = -TRAINING_SECONDS
        self._gone: Callable[[], bool] = _never
        self._lost: Exception | None = None
        self._terminal = [stream for stream in STREAMS if os.isatty(stream)]

    def should_stop(self) -> bool:
        """What a training asks twice a second, from whichever thread."""
        self._polled = time.monotonic()
        return self.asked

    def check(self) -> None:
        """Raise `Terminated` where a signal found a training that then came to its end by itself, or somewhere lost
        its name on the way; and what `lose` was told."""
        if self._lost is not None:
            raise self._lost
        if self.asked:
            raise Terminated(self.by)

    def lose(self, why: Exception) -> None:
        """Have `why` raised in the main thread, from whichever thread this is called: the run must go no further."""
        self._lost = why
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def listen(self, gone: Callable[[], bool] = _never) -> None:
        """React from now on. To be called again after `ray.init`, which sets a handler of its own; `gone` tells whether
        that is there no more without which no training comes to its end."""
        self._gone = gone
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread do it
            for number in NOTICES:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._leave_terminal()
        if self._lost is not None:
            raise Terminated(self.by)  # `check` tells why, wherever it is asked first
        again, self.asked = self.asked, True
        if not again:
            self.by = signal.Signals(number).name
        if again or time.monotonic() - self._polled > TRAINING_SECONDS:
            raise Terminated(self.by)
        threading.Thread(target=self._give_up, daemon=True).start()

    def _give_up(self) -> None:
        """Wait no longer for a training once it cannot answer: Ray itself would wait a minute, and then end us."""
        while not self._gone():
            time.sleep(GONE_SECONDS)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _leave_terminal(self) -> None:
        """Say the rest to nobody: writing to a terminal that is gone would fail, in the middle of saving."""
        nobody = os.open(os.devnull, os.O_WRONLY)
        for stream in self._terminal:
            os.dup2(nobody, stream)
        os.close(nobody)


@contextmanager
def stopping() -> Iterator[StopSignal]:
    """React to SIGTERM and SIGHUP while the block runs, and as before afterwards."""
    stop, before = StopSignal(), {number: signal.getsignal(number) for number in NOTICES}
    stop.listen()
    try:
        yield stop
    except KeyboardInterrupt:
        stop.check()
        raise
    except SystemExit as error:
        if error.code == signal.SIGTERM:  # Ray's own handler, which is there for a moment while it starts
            raise Terminated from error
        raise
    finally:
        _restore(before)


def _restore(before: dict[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
