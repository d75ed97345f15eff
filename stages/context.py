"""Where a stage runs: its folder, the seed, and the callables it reports to. Stages know no MLflow and no terminal.

And the marks by which records outlive a change of code: `stage` for a stage, `not_fingerprinted` and `since` for the
fields of its config. Whoever writes a config decides for each new field: does it change what the stage makes? If not,
it is `not_fingerprinted(default)`. If it does, but its default is what the code did before, it is `since(default)`.
Without a mark every result made so far is made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from stages.storage import Folder


def _ignore(*_: object) -> None:
    """Nobody listens: the default of the callables below."""


def _never() -> bool:
    """Nobody wants it stopped: the default of `should_stop`."""
    return False


@dataclass(frozen=True, kw_only=True)
class StageContext:
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
    on_notice: Callable[[str], None] = _ignore
    """A sentence for a person: something went wrong, and this is what was done about it."""
    on_tag: Callable[[str, str], None] = _ignore
    """(name, text): by which a run can be found among others, where what is said to a person has long scrolled by."""
    should_stop: Callable[[], bool] = _never
    """Asked twice a second while a training runs; once true, the training saves a checkpoint and raises `Preempted`."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage is called and which version its code has: stated, not taken from a module's or a function's name,
    since both are part of every fingerprint and have to outlive a move of the code."""

    name: str
    """Of its folder too, below the root."""
    version: int
    """Raised whenever the stage's code changes what it makes."""


_Function = TypeVar("_Function", bound=Callable[..., Any])


def stage(*, name: str, version: int) -> Callable[[_Function], _Function]:
    """Marks a function as a stage; it stays the plain function that it is. Use: `@stage(name="corpus", version=2)`."""

    def mark(function: _Function) -> _Function:
        function.__dict__["stage"] = Stage(name=name, version=version)
        return function

    return mark


def declared(function: Callable[..., Any]) -> Stage:
    """What `stage` has marked a function with; raises TypeError where it has not."""
    found = getattr(function, "stage", None)
    if not isinstance(found, Stage):
        raise TypeError(f"{function} is no stage: mark it with @stage(name=..., version=1)")
    return found


def not_fingerprinted(default: Any) -> Any:
    """A config field that says where or how fast a stage runs and not what it makes: it stays out of the fingerprint.

    Use: `workers: int = not_fingerprinted(1)`. `pipeline/config/serialisation.py` reads the mark.
    """
    return field(default=default, metadata={"fingerprint": False})


_DEFAULT = object()


def since(default: Any, *, before: Any = _DEFAULT) -> Any:
    """A config field that came after results had been made: at the value that means what was done before there was
    such a field, it stays out of the fingerprint, and those results go on to count.

    Use: `smoothing: float = since(0.0)`, or `since(0.1, before=0.0)` where the default is to differ from what was.
    A config.yaml that was written before the field gets the default, and a notice says so. The value before the field
    stays for good: with another one, results made at it would be taken for those from before the field.
    """
    return field(default=default, metadata={"absent_when": default if before is _DEFAULT else before})
