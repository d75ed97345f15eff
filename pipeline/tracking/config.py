"""Where a run is recorded, as a config says it; `store.py` settles the address."""

from dataclasses import dataclass

from stages.context import not_fingerprinted
from stages.errors import ConfigError

SQLITE = "sqlite:///"


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
        if not self.experiment:
            raise ConfigError("tracking.experiment", self.experiment, "must be a name")
