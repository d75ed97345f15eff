"""The commands with their own options, as tyro reads them; the fields of a config are none of them."""

from dataclasses import dataclass
from typing import Annotated

import tyro

_Recipe = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
_File = Annotated[str | None, tyro.conf.arg(metavar="FILE")]
_Search = Annotated[str | None, tyro.conf.arg(metavar="RUN")]
_Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run the pipeline; what is recorded already is reused. `distil run RECIPE --help` shows every field.

    Fields are set by `--field.name value`, as in `distil run demo --distil.steps 100`; a list is one word with commas,
    several words, or JSON in quotes.
    """

    recipe: _Recipe = None
    """Such as demo."""
    config: _File = None
    """Instead of a recipe: a resolved config, as every run leaves one in its workdir."""
    from_search: _Search = None
    """Take the setting that a finished `distil tune` confirmed: its MLflow run id, a workdir, or `latest`. Fields that
    are given win."""
    refresh: _Flag = False
    """Ask the Hugging Face hub anew what its names stand for; otherwise they are what they were to the first run in the
    workdir."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Search for the temperature and the loss weights. `distil tune RECIPE --help` shows every field.

    Fields are set as for `distil run`; those of the search itself are `--tune.name value`.
    """

    recipe: _Recipe = None
    """Such as demo."""
    config: _File = None
    """Instead of a recipe: a resolved config, as every run leaves one in its workdir."""
    trials: Annotated[str | None, tyro.conf.arg(metavar="N")] = None
    """How many settings are tried; short for `--tune.trials N`."""
    search: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=RANGE")]] = ()
    """Search a further field of distil, as in `learning_rate=5e-4..4e-3:log`, `dropout=0..0.3` or, in quotes,
    'ce_positions=all|masked'. May be given more than once."""
    refresh: _Flag = False
    """Ask the Hugging Face hub anew what its names stand for; otherwise they are what they were to the first run in the
    workdir."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Say which stages would be reused, which would run, why, and what it would cost. Runs nothing. Takes what `distil
    run` takes."""

    recipe: _Recipe = None
    """Such as demo."""
    config: _File = None
    """Instead of a recipe: a resolved config, as every run leaves one in its workdir."""
    from_search: _Search = None
    """Take the setting that a finished `distil tune` confirmed: its MLflow run id, a workdir, or `latest`. Fields that
    are given win."""
    refresh: _Flag = False
    """Ask the Hugging Face hub anew what its names stand for; otherwise they are what they were to the first run in the
    workdir."""
    json: _Flag = False
    """One JSON object instead; its keys are in docs/cli.md."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """List the runs here: recipe, state, what was kept, loss, when and where. Asks no MLflow."""

    folders: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="[FOLDER ...]")]] = ()
    """Workdirs, or folders that hold some; runs/ where none is given."""
    json: _Flag = False
    """One JSON object instead; its keys are in docs/cli.md."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Say which fields of two runs' configs differ, and put their figures side by side."""

    one: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """An MLflow run id, a workdir, or `latest`."""
    other: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Another, of another workdir."""
    json: _Flag = False
    """One JSON object instead; its keys are in docs/cli.md."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Fill a mask with teacher and student side by side, the top five of each."""

    text: tyro.conf.Positional[str]
    """Such as "The [MASK] of a tensor."."""
    run: str = "latest"
    """An MLflow run id, a workdir, or `latest`."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Sync:
    """Deliver to MLflow what it was away for when a run ended. The run's own command does so too."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = "latest"
    """An MLflow run id, a workdir, or `latest`."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Open MLflow on the store that holds the runs; prints the address."""

    run: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """The run whose store it is: an MLflow run id, a workdir, or `latest`; `latest` where there is one."""
    port: int = 5000
    """Where it listens on this machine."""
    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print what bash or zsh needs to complete commands, recipes, options and fields: `source <(distil completion)`."""

    verbose: _Flag = False
    """All that the libraries have to say, and tracebacks."""


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Tune, tyro.conf.subcommand("tune")]
    | Annotated[Describe, tyro.conf.subcommand("describe")]
    | Annotated[Runs, tyro.conf.subcommand("runs")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Fill, tyro.conf.subcommand("fill")]
    | Annotated[Sync, tyro.conf.subcommand("sync")]
    | Annotated[Ui, tyro.conf.subcommand("ui")]
    | Annotated[Completion, tyro.conf.subcommand("completion")]
)
COMMANDS = ("run", "tune", "describe", "runs", "compare", "fill", "sync", "ui", "completion")
