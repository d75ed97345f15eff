"""Run or reuse: calls a stage, or loads what it recorded, or only says which of the two it would be."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from pipeline.config.serialisation import from_plain, to_plain
from pipeline.records.record import (
    Identity,
    Record,
    Stale,
    differences,
    fingerprint,
    identify,
    newest_other,
    read_artifact,
    read_record,
    write_record,
)
from pipeline.runtime.environment import environment, made_with
from pipeline.runtime.signals import StopSignal, Terminated
from stages.context import StageContext, declared
from stages.errors import Preempted
from stages.storage import Folder

T = TypeVar("T")
Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, kw_only=True)
class StageResult(Generic[T]):
    """A stage's artifact with where it comes from. In a plan it may be a promise: its fingerprint, and no artifact."""

    stage: str
    fingerprint: str
    folder: Folder
    reused: bool
    """Whether a record was there already (in a plan: whether it would be reused)."""
    why: tuple[str, ...]
    """Why it ran, or would run; empty where `reused`."""
    seconds: float
    """How long making it took, when it was made; 0 for a promise."""
    made_with: str = ""
    """Of a record: the versions and the commit that made it, where they are not today's. They bear on no reuse."""
    recorded: T | None = field(repr=False)

    @property
    def artifact(self) -> T:
        """The artifact; raises RuntimeError in a plan whose stage has not run."""
        if self.recorded is None:
            raise RuntimeError(
                f"{self.stage} has not run: it has a fingerprint, {self.fingerprint}, and no artifact yet"
            )
        return self.recorded


class Watch(Protocol):
    """Who is told of each step: a console."""

    def running(self, stage: str, why: tuple[str, ...]) -> AbstractContextManager[Progress]:
        """Around a stage that runs; gives the callable that takes its progress."""

    def reused(self, made: StageResult[Any]) -> None:
        """A stage's record was found."""

    def planned(self, made: StageResult[Any]) -> None:
        """What a stage would do, in a plan."""


class Silent:
    """Watches a plan without a word."""

    def planned(self, made: StageResult[Any]) -> None:
        """Nothing to say."""

    def reused(self, made: StageResult[Any]) -> None:
        """Nothing to say."""

    def running(self, stage: str, why: tuple[str, ...]) -> AbstractContextManager[Progress]:
        """Raises RuntimeError: a plan runs nothing."""
        raise RuntimeError(f"{stage} was to run, but this is a plan")


def _ignore(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """A step of the graph: `corpus = step(gather, config.corpus)`, then `step(pack, config.tokens, corpus)`.

    With `plan`, nothing runs and nothing is written; the same graph says what would be reused, what would run, and why.
    """

    root: Folder
    seed: int
    watch: Watch
    plan: bool = False
    on_metrics: Callable[[str, int, Mapping[str, float]], None] = _ignore
    """(stage, optimiser step, metrics by name)."""
    on_checkpoint: Callable[[str, int, Folder], None] = _ignore
    """(stage, optimiser step, folder of a finished checkpoint)."""
    on_notice: Callable[[str], None] = _ignore
    """A sentence for a person, from a stage that runs."""
    on_tag: Callable[[str, str], None] = _ignore
    """(name, text), from a stage that runs."""
    on_reused: Callable[[StageResult[Any]], None] = _ignore
    """Told of each record that was found, and taken; not in a plan."""
    stop: StopSignal = field(default_factory=StopSignal)
    """Asked by trainings, and between stages, whether to go on."""

    def __call__(
        self,
        stage: Callable[..., T],
        config: object,
        *inputs: StageResult[Any] | None,
        name: str | None = None,
        seeded: bool = True,
        outside: Mapping[str, str] | None = None,
        known_by: object | None = None,
    ) -> StageResult[T]:
        """`stage(config, *artifacts of inputs, where)`, or its record. Raises what the stage raises, and `Terminated`
        where a SIGTERM came during the last of its training; then what it made is recorded first.

        `name` is what the stage declares unless given: some run more than once. `seeded=False` is for a stage that
        draws nothing at random. `outside` is what it reads from outside of the pipeline, by name: a digest of its
        files, say. `known_by` is the config to be recorded, where another than `config` says the same.
        """
        identity = identify(
            name or declared(stage).name,
            declared(stage).version,
            config if known_by is None else known_by,
            seed=self.seed if seeded else None,
            inputs=_fingerprints(inputs),
            outside=outside,
        )
        found = self._find(stage, identity)
        if self.plan:
            self.watch.planned(found)
        elif found.reused:
            self.watch.reused(found)
            self.on_reused(found)
        else:
            return self._run(stage, config, inputs, identity, found)
        return found

    def _find(self, stage: Callable[..., T], identity: Identity) -> StageResult[T]:
        """What is recorded, or a promise with the reasons why it has to run."""
        mark = fingerprint(identity)
        folder = self.root / identity.stage / mark
        why: tuple[str, ...]
        artifact, seconds, before = None, 0.0, ""
        try:
            record = read_record(folder)
            if record is not None:
                artifact, seconds = read_artifact(get_type_hints(stage)["return"], record, folder), record.seconds
                before = made_with(record.environment, environment())
            why = () if record is not None else self._reasons(identity, mark)
        except Stale as stale:
            why = (str(stale),)
        return StageResult(
            stage=identity.stage,
            fingerprint=mark,
            folder=folder,
            reused=artifact is not None,
            why=why,
            seconds=seconds,
            made_with=before,
            recorded=artifact,
        )

    def _reasons(self, identity: Identity, mark: str) -> tuple[str, ...]:
        if (self.root / identity.stage / mark).exists():
            return ("not finished last time; continues",)
        other = newest_other(self.root / identity.stage, than=mark)
        if other is None:
            return ("nothing recorded yet",)
        return differences(other.identity, identity) or ("its config changed",)

    def _run(
        self,
        stage: Callable[..., T],
        config: object,
        inputs: tuple[StageResult[Any] | None, ...],
        identity: Identity,
        promise: StageResult[T],
    ) -> StageResult[T]:
        """Run the stage, and record it once it is known that the record can be read again."""
        started = time.monotonic()
        with self.watch.running(promise.stage, promise.why) as on_progress:
            context = StageContext(
                folder=promise.folder,
                seed=identity.seed or 0,
                on_metrics=partial(self.on_metrics, promise.stage),
                on_checkpoint=partial(self.on_checkpoint, promise.stage),
                on_progress=on_progress,
                on_notice=self.on_notice,
                on_tag=self.on_tag,
                should_stop=self.stop.should_stop,
            )
            try:
                artifact = stage(config, *(made and made.artifact for made in inputs), context)
            except KeyboardInterrupt:
                self.stop.check()  # Ray tells no `Terminated` from a Ctrl-C
                raise
            except Preempted as error:
                error.signal = self.stop.by
                raise
            except Exception as error:
                if self.stop.asked:  # workers of other machines may get the signal too, and go first
                    raise Terminated(self.stop.by) from error
                raise
            record = Record(
                fingerprint=promise.fingerprint,
                identity=identity,
                artifact=to_plain(artifact, base=promise.folder),
                seconds=time.monotonic() - started,
                finished=datetime.now(UTC).isoformat(timespec="microseconds"),
                environment=environment(),
            )
            from_plain(get_type_hints(stage)["return"], record.artifact, base=promise.folder)
            write_record(promise.folder, record)
        self.stop.check()
        return replace(promise, recorded=artifact, seconds=record.seconds)


def _fingerprints(inputs: tuple[StageResult[Any] | None, ...]) -> dict[str, str]:
    """Inputs' fingerprints by stage; a stage that comes twice is numbered, so that the two are told apart."""
    found: dict[str, str] = {}
    for made in inputs:
        if made is not None:
            twins = sum(name.split(" ")[0] == made.stage for name in found)
            found[f"{made.stage} {twins + 1}" if twins else made.stage] = made.fingerprint
    return found
