"""Where a run is recorded, as a config says it; `store.py` settles the address."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from stages.context import not_fingerprinted
from stages.errors import ConfigError

SQLITE = "sqlite:///"


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
    """sqlite:///FILE, or the http(s) address of an MLflow server; None is $MLFLOW_TRACKING_URI or else a file under
    runs/ in the working directory."""
    experiment: str = not_fingerprinted("distilray")
    """MLflow's experiment; one a project."""
    system_metrics: bool = not_fingerprinted(True)
    """Whether processor, memory, disk, network and GPU of this machine are logged, every 10 s."""

    def __post_init__(self) -> None:
        if self.uri is not None and not self.uri.startswith((SQLITE, "http://", "https://")):
            raise ConfigError("tracking.uri", self.uri, "must be sqlite:///FILE or an MLflow server's http(s) address")
        if self.uri is not None and self.uri.startswith(SQLITE) and "?" in self.uri:
            raise ConfigError("tracking.uri", self.uri, "must have no ? in it; in a file's name it is written %3F")
        if not self.experiment:
            raise ConfigError("tracking.experiment", self.experiment, "must be a name")
