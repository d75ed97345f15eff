"""Commands that read what runs have left behind."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline.cli.commands.options import A_RUN, Json, Verbose, WhichRun


@dataclass(frozen=True, kw_only=True)
class Runs:
    """List the runs here: recipe, state, what was kept, loss, when and where. Asks no MLflow."""

    folders: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="[FOLDER ...]")]] = ()
    """Workdirs, or folders that hold some; runs/ where none is given."""
    json: Json = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Say which fields of two runs' configs differ, and put their figures side by side."""

    one: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help=A_RUN)]
    other: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="Another, of another workdir.")]
    json: Json = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Fill a mask with teacher and student side by side, the top five of each."""

    text: tyro.conf.Positional[str]
    """Such as "The [MASK] of a tensor."."""
    run: WhichRun = "latest"
    verbose: Verbose = False
