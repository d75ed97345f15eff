"""`distil describe --json`: what a run would reuse, what it would make and what that would cost."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import Assignments, config_of
from pipeline.cli.commands.configured import Describe
from pipeline.records.reuse import Silent, StageResult

if TYPE_CHECKING:  # brings torch
    from pipeline.cost.estimate import Cost


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a plan. Field names are a contract with whoever reads the JSON: docs/cli.md."""

    stage: str
    fingerprint: str
    folder: str
    reused: bool
    why: tuple[str, ...]
    seconds: float | None
    made_with: str | None


@dataclass(frozen=True, kw_only=True)
class Described:
    """The answer."""

    recipe: str
    workdir: str
    storage: str | None
    stages: tuple[Stage, ...]
    cost: "tuple[Cost, ...]"
    refused: str | None
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _Stages(Silent):
    """Keeps what it is told, in the graph's order."""

    found: list[Stage] = field(default_factory=list)

    def planned(self, made: StageResult[Any]) -> None:
        """Keep a stage of the plan."""
        stage = Stage(
            stage=made.stage,
            fingerprint=made.fingerprint,
            folder=made.folder.uri,
            reused=made.reused,
            why=made.why,
            seconds=made.seconds if made.reused else None,
            made_with=made.made_with or None,
        )
        self.found.append(stage)


def described(command: Describe, fields: Assignments) -> Described:
    """What `distil describe` with these words would say."""
    notices: list[str] = []
    config = config_of(command, fields, notices.append)
    from pipeline.run import foresee  # seconds, which a misspelt field need not wait for

    stages = _Stages()
    foreseen = foresee(config, stages, notices.append, refresh=command.refresh)
    return Described(
        recipe=config.name,
        workdir=str(Path(config.workdir).expanduser().resolve()),
        storage=config.storage,
        stages=tuple(stages.found),
        cost=foreseen.costs,
        refused=None if foreseen.fault is None else str(foreseen.fault),
        notices=tuple(notices),
    )
