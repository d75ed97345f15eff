"""Checkpoints written beside training: the tensors are copied, and a thread writes them while the next steps run."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of the checkpoint of `step`."""

    step: int
    folder: Folder | None = None
    """Where it lies, whole."""
    error: OSError | None = None
    """Why it does not."""


class CheckpointWriter:
    """Writes one checkpoint at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._running: tuple[int, Future[Folder]] | None = None

    def start(self, step: int, write: Callable[[], Folder]) -> None:
        """Have `write` called in the thread; the one before must have been collected."""
        assert self._running is None, "one at a time: collect first"
        self._running = step, self._thread.submit(write)

    def collect(self, *, wait: bool) -> Written | None:
        """What became of the one that was started; None where there is none, or it is not over and is not waited for.

        Raises what `write` raised, but for OSError.
        """
        if self._running is None or not (wait or self._running[1].done()):
            return None
        (step, future), self._running = self._running, None
        try:
            return Written(step=step, folder=future.result())
        except OSError as error:
            return Written(step=step, error=error)
