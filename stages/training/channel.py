"""What workers tell the driver and what it tells them: one small actor, on the driver's own machine.

Reports do not go through Ray Train's controller, which is a process of its own, takes one report a worker at a time,
and must not hold the MLflow run. A worker's `put` costs microseconds and waits for nothing.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stages.context import StageContext
from stages.storage import Folder

EVERY = 0.5
"""Seconds between two looks into the channel, on either side."""
PATIENCE, INTERRUPTED_PATIENCE = 60.0, 3.0
"""Seconds for the last of what workers said to arrive, at the end and where somebody has broken off."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How training stands after `step` optimiser steps."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The checkpoint of `step` is whole."""

    step: int
    folder: Folder


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A start, from the checkpoint of `step` (0: from none), with all that was reported up to there."""

    step: int
    history: tuple[Mapping[str, float], ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A sentence for a person."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The workers stopped when they were asked to; the checkpoint of `step` is whole."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What another start would meet again: training is over."""

    error: Exception


Message = Report | Saved | Resumed | Notice | Stopped | Failed


@ray.remote(num_cpus=0)
class Channel:
    """Holds messages until the driver takes them, and what the driver wants until the workers ask."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.stop = self.failed = False

    def put(self, message: Message) -> None:
        self.messages.append(message)
        self.failed = self.failed or isinstance(message, Failed)

    def take(self) -> list[Message]:
        taken, self.messages = self.messages, []
        return taken

    def ask_to_stop(self) -> None:
        self.stop = True

    def wanted(self) -> tuple[bool, bool]:
        """(whether the workers are to stop after a checkpoint, whether training has failed for good)."""
        return self.stop, self.failed


class ChannelWriter:
    """A worker's end of the channel. A thread of its own asks what the driver wants, so that no step waits for it."""

    def __init__(self, channel: Any) -> None:
        self._channel, self._last = channel, None
        self._stop = threading.Event()
        self._closed = threading.Event()
        self.failed = self._ask()
        threading.Thread(target=self._keep_asking, name="channel", daemon=True).start()

    @property
    def stop_asked(self) -> bool:
        """Whether the driver wants a checkpoint and the end."""
        return self._stop.is_set()

    def put(self, message: Message) -> None:
        """Leave a message; messages of one worker arrive in order."""
        self._last = self._channel.put.remote(message)

    def close(self) -> None:
        """Wait until all that was put has arrived: what a process that ends had still to send would be lost."""
        self._closed.set()
        if self._last is not None:
            ray.get(self._last)

    def _ask(self) -> bool:
        stop, failed = ray.get(self._channel.wanted.remote())
        if stop:
            self._stop.set()
        return failed

    def _keep_asking(self) -> None:
        while not self._closed.wait(EVERY) and not self._stop.is_set():
            self._ask()


@dataclass
class Received:
    """The driver's end: the actor, and what has been received so far."""

    channel: Any
    step: int = -1
    """Of the newest report that was passed on; one that a restarted worker makes again is not."""
    stopped: int | None = None
    """The step that the workers stopped at, where they were asked to."""
    failures: list[Exception] = field(default_factory=list)
    """The workers' own, or what the callables raised."""


@contextmanager
def listen(context: StageContext, steps: int) -> Iterator[Received]:
    """While the block runs, what workers report is told to `context`, in this process, in order and each step once.

    Asks the workers to stop when `context.should_stop()` says so, and when something raised: what that was is in
    `failures` after the block.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    received = Received(Channel.options(scheduling_strategy=here).remote())  # type: ignore[attr-defined]
    over = threading.Event()

    def work() -> None:
        try:
            _deliver(received, context, steps, over)
        except Exception as error:
            received.failures.append(error)  # raised where somebody can see it, once training is over
            received.channel.ask_to_stop.remote()

    postman = threading.Thread(target=work, name="reports", daemon=True)
    postman.start()
    patience = PATIENCE
    try:
        yield received
    except KeyboardInterrupt:  # somebody is waiting, and Ray may be gone
        patience = INTERRUPTED_PATIENCE
        raise
    finally:
        over.set()
        postman.join(patience)
        ray.kill(received.channel)


def _deliver(received: Received, context: StageContext, steps: int, over: threading.Event) -> None:
    last = asked = False
    while not last:
        last = over.wait(EVERY)
        if context.should_stop() and not asked:
            received.channel.ask_to_stop.remote()
            asked = True
        for message in ray.get(received.channel.take.remote()):
            _tell(message, received, context, steps)


def _tell(message: Message, received: Received, context: StageContext, steps: int) -> None:
    match message:
        case Report():
            if message.step > received.step:
                context.on_metrics(message.step, message.metrics)
                received.step = message.step
            context.on_progress(message.step, steps, "steps")
        case Saved():
            context.on_checkpoint(message.step, message.folder)
        case Resumed():
            for past in message.history:
                if past["step"] > received.step:
                    received.step = int(past["step"])
                    context.on_metrics(received.step, {name: value for name, value in past.items() if name != "step"})
            for text in message.notices:
                context.on_notice(text)
        case Notice():
            context.on_notice(message.text)
        case Stopped():
            received.stopped = message.step
        case Failed():
            received.failures.append(message.error)
