"""Which commands there are. What each does is in `cli/acts.py`; all else follows from its own options."""

from typing import Annotated, Any, get_args, get_type_hints

import tyro

from pipeline.cli.commands.configured import Ablate, Describe, Doctor, Evaluate, Run, Task, Tune
from pipeline.cli.commands.results import Compare, Fill, Runs
from pipeline.cli.commands.surroundings import Completion, Sync, Ui

Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Tune, tyro.conf.subcommand("tune")]
    | Annotated[Ablate, tyro.conf.subcommand("ablate")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Task, tyro.conf.subcommand("task")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[Runs, tyro.conf.subcommand("runs")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Fill, tyro.conf.subcommand("fill")]
    | Annotated[Sync, tyro.conf.subcommand("sync")]
    | Annotated[Ui, tyro.conf.subcommand("ui")]
    | Annotated[Completion, tyro.conf.subcommand("completion")]
)
"""As `distil --help` lists them."""
COMMANDS: dict[str, type] = {about.name: kind for kind, about in map(get_args, get_args(Command))}
"""Each command by the word that a person writes."""


def options(kind: type) -> dict[str, bool]:
    """A command's own options, without dashes, and whether each takes a value; positional words are none."""
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    bare = get_type_hints(kind)
    named = (name for name, hint in hints.items() if tyro.conf.Positional not in getattr(hint, "__metadata__", ()))
    return {name.replace("_", "-"): bare[name] is not bool for name in named}


CONFIGURED = tuple(name for name, kind in COMMANDS.items() if "recipe" in get_type_hints(kind))
"""Those that take a config, and its fields."""
FIELDED = (*CONFIGURED, "evaluate", "task")
"""Those whose options may be fields of a config: their own one, or a run's."""
