"""Commands about what a run has to do with: MLflow and the shell."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline.cli.commands.options import A_RUN, Verbose


@dataclass(frozen=True, kw_only=True)
class Sync:
    """Deliver to MLflow what it was away for when a run ended. The run's own command does so too."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help=A_RUN)] = "latest"
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Open MLflow on the store that holds the runs; prints the address."""

    run: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """The run whose store it is: an MLflow run id, a workdir, or `latest`; `latest` where there is one."""
    port: int = 5000
    """Where it listens on this machine."""
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print what bash or zsh needs to complete commands, recipes, options and fields: `source <(distil completion)`."""

    verbose: Verbose = False
