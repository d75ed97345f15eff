"""Fine-tunings as Ray tasks: as many at once as there is room for, each recorded as it ends."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import ray

from stages.context import StageContext
from stages.errors import unwrap
from stages.storage import Folder
from stages.tasks.comparison.fits import Fit, key_of
from stages.tasks.comparison.work import Outcome, work
from stages.tasks.config import FineTuningConfig
from stages.tasks.examples import Labelled

T = TypeVar("T")
_POLL = 0.5
"""Seconds between two looks at whether to stop."""


class Stopped(Exception):
    """Asked to stop: what is recorded is whole, and the same call goes on with the rest."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all fine-tunings of a comparison share."""

    config: FineTuningConfig
    kept: Folder
    """Where outcomes are kept, of every comparison under the same root: one file each."""
    data: Mapping[str, dict[str, str]]
    """By task: what its rows are."""
    labelled: Mapping[str, Labelled]
    """By task: its rows."""
    references: Mapping[str, Any]
    """By task: its rows in Ray's object store."""
    context: StageContext

    def key(self, fit: Fit) -> str:
        """Under which its outcome is kept."""
        return key_of(fit, self.data[fit.task], self.config)


def recorded(bench: Bench, fit: Fit) -> Outcome | None:
    """What an earlier call kept of this very fine-tuning; None where there is nothing, or not all that is asked for."""
    key = bench.key(fit)
    try:
        plain = json.loads(bench.kept.read_bytes(f"{key}.json"))
    except FileNotFoundError:
        return None
    if fit.keeps and not bench.kept.exists(f"{key}.npy"):
        return None
    return Outcome(
        scores=tuple(plain["scores"]), predicted=plain["predicted"], cut=plain["cut"], seconds=plain["seconds"]
    )


def run_fits(bench: Bench, fits: Sequence[Fit], on_done: Callable[[], None]) -> dict[Fit, Outcome]:
    """All outcomes: those that are kept, and the rest made, in no particular order.

    `on_done` is called after each. Raises `Stopped` where the context says so, and what a fine-tuning raises.
    """
    found: dict[Fit, Outcome] = {}
    waiting: dict[Any, Fit] = {}
    task = remote(bench.config, work)
    for fit in fits:
        outcome = recorded(bench, fit)
        if outcome is None:
            waiting[_begin(bench, task, fit)] = fit
        else:
            found[fit] = outcome
            on_done()
    for fit, reference in as_they_end(waiting, bench.context):
        found[fit] = _taken(bench, fit, reference)
        on_done()
    return found


def as_they_end(waiting: dict[Any, T], context: StageContext) -> Iterator[tuple[T, Any]]:
    """(what it is, its reference) for each of Ray's tasks, when it has ended; `waiting` is emptied by it. What is left
    is cancelled where one failed, and where the context says to stop, which raises `Stopped`."""
    try:
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=_POLL)
            if not ready and context.should_stop():
                raise Stopped("fine-tuning was asked to stop")
            for reference in ready:
                yield waiting.pop(reference), reference
    finally:
        for reference in waiting:
            ray.cancel(reference)


def taken(reference: Any) -> Any:
    """What a task came to; raises what it raised, an `InputError` whole."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error


def remote(config: FineTuningConfig, function: Callable[..., Any]) -> Any:
    """`function` as one of Ray's tasks, with the CPUs of a fine-tuning and a GPU where there are any."""
    return ray.remote(num_cpus=config.cpus, num_gpus=min(1, ray.cluster_resources().get("GPU", 0)))(function)


def _begin(bench: Bench, task: Any, fit: Fit) -> Any:
    taught_as = "" if fit.taught_by is None else f"{bench.key(fit.taught_by)}.npy"
    return task.remote(
        fit,
        bench.references[fit.task],
        bench.config,
        said=bench.kept,
        keep_as=f"{bench.key(fit)}.npy",
        taught_as=taught_as,
    )


def _taken(bench: Bench, fit: Fit, reference: Any) -> Outcome:
    """An outcome, written down before anything else is done."""
    outcome: Outcome = taken(reference)
    about = {"task": fit.task, "model": fit.candidate.name, "seed": fit.seed, "inner": fit.inner}
    plain = about | {"setting": asdict(fit.setting)} | asdict(outcome)
    bench.kept.write_bytes(f"{bench.key(fit)}.json", json.dumps(plain).encode())
    return outcome
