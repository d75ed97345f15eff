"""Where a stage runs: its folder, the seed, and the callables it reports to. Stages know no MLflow and no terminal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.storage import Folder


def _ignore(*_: object) -> None:
    """Nobody listens: the default of every callable below."""


def _never() -> bool:
    """Nobody wants it stopped: the default of `should_stop`."""
    return False


@dataclass(frozen=True, kw_only=True)
class Where:
    """What a stage is told about its surroundings; nothing here may change its result except `seed`."""

    folder: Folder
    """The stage's own folder. It survives a crash: what a stage left there, it may continue from."""
    seed: int
    on_metrics: Callable[[int, Mapping[str, float]], None] = _ignore
    """(optimiser step, metrics by name); called in the driver's process."""
    on_checkpoint: Callable[[int, Folder], None] = _ignore
    """(optimiser step, folder of a finished checkpoint); called in the driver's process."""
    on_progress: Callable[[float, float, str], None] = _ignore
    """(done, total, unit); total may be 0 while unknown."""
    should_stop: Callable[[], bool] = _never
    """Asked twice a second while a training runs; once true, the training saves a checkpoint and raises `Preempted`."""


def elsewhere(default: Any) -> Any:
    """A config field that says where or how fast a stage runs and not what it makes: it stays out of the fingerprint.

    Use: `workers: int = elsewhere(1)`. `pipeline/record.py` reads the mark.
    """
    return field(default=default, metadata={"fingerprint": False})
