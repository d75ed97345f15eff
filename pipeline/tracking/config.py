"""Where a run is recorded, as a config says it; `store.py` settles the address."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from stages.context import not_fingerprinted
from stages.errors import ConfigError

SQLITE = "sqlite:///"
_SERVER = re.compile(r"https?://")
_DATABASE = re.compile(r"(postgresql|mysql|mssql)(\+\w+)?://")
_DATABRICKS = re.compile(r"databricks(://[^/]*)?")
KINDS = (
    "sqlite:///FILE, the http(s) address of an MLflow server, a database (postgresql://, mysql://, mssql://), or "
    "databricks or databricks://PROFILE"
)
"""For a person, what an address of MLflow may be."""


def kind_of(address: str) -> Literal["file", "server", "database", "databricks"] | None:
    """What an address of MLflow names; None for what MLflow does not take, or no longer writes to (plain folders)."""
    if address.startswith(SQLITE):
        return "file"
    if _SERVER.match(address):
        return "server"
    if _DATABASE.match(address):
        return "database"
    return "databricks" if _DATABRICKS.fullmatch(address) else None


def sqlite_address(file: Path) -> str:
    """The address of an SQLite file, whatever its folders are called: in an address `%20` means a space, and what
    comes after a `?` are options."""
    return SQLITE + str(file.absolute()).replace("%", "%25").replace("?", "%3F")


def sqlite_file(address: str) -> Path:
    """The absolute path of the file that an sqlite:/// address means here."""
    return Path(unquote(address.removeprefix(SQLITE))).absolute()


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where a run is recorded; bears on no result."""

    uri: str | None = not_fingerprinted(None)
    """sqlite:///FILE, the http(s) address of an MLflow server, a database, or databricks; None is $MLFLOW_TRACKING_URI
    or else a file under runs/ in the working directory."""
    experiment: str = not_fingerprinted("distilray")
    """MLflow's experiment; one a project. Databricks wants a path, such as /Shared/distilray."""
    system_metrics: bool = not_fingerprinted(True)
    """Whether processor, memory, disk, network and GPU of this machine are logged, every 10 s."""

    def __post_init__(self) -> None:
        if self.uri is not None and kind_of(self.uri) is None:
            raise ConfigError("tracking.uri", self.uri, f"must be {KINDS}")
        if self.uri is not None and self.uri.startswith(SQLITE) and "?" in self.uri:
            raise ConfigError("tracking.uri", self.uri, "must have no ? in it; in a file's name it is written %3F")
        if not self.experiment:
            raise ConfigError("tracking.experiment", self.experiment, "must be a name")
