"""Options that several commands have, each with its help in one place."""

from typing import Annotated

import tyro

Flag = tyro.conf.FlagCreatePairsOff[bool]
"""Given or not: there is no `--no-…`."""
Recipe = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE", help="Such as demo.")]
_A_FILE = "Instead of a recipe: a resolved config, as every run leaves one in its workdir."
ConfigFile = Annotated[str | None, tyro.conf.arg(metavar="FILE", help=_A_FILE)]
_A_SEARCH = (
    "Take the setting that a finished `distil tune` confirmed: its MLflow run id, a workdir, or `latest`. Fields that "
    "are given win."
)
Search = Annotated[str | None, tyro.conf.arg(metavar="RUN", help=_A_SEARCH)]
_ANEW = (
    "Ask the Hugging Face hub anew what its names stand for; otherwise they are what they were to the first run in the "
    "workdir."
)
Refresh = Annotated[Flag, tyro.conf.arg(help=_ANEW)]
A_RUN = "An MLflow run id, a workdir, or `latest`."
WhichRun = Annotated[str, tyro.conf.arg(metavar="RUN", help=A_RUN)]
Json = Annotated[Flag, tyro.conf.arg(help="One JSON object instead; its keys are in docs/cli.md.")]
Verbose = Annotated[Flag, tyro.conf.arg(help="All that the libraries have to say, and tracebacks.")]
