"""Everything that a smaller classifier is made from."""

from dataclasses import dataclass, field

from pipeline.config.overrides import Scalar, flat
from pipeline.config.schema import check_seed_and_workdir
from pipeline.tracking.config import TrackingConfig
from stages.classifier.config import ShrinkConfig, SourceConfig
from stages.publish.config import PublishConfig
from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The config of `distil task`. `name`, `workdir`, `storage` and `tracking` bear on no result."""

    name: str
    """Of the MLflow run."""
    workdir: str
    """A folder on this machine for the report and, unless `storage` is given, for all the rest."""
    storage: str | None = None
    """Where models and records go: a folder that every machine sees, or s3:// or gs://."""
    seed: int = 0
    """Of what is drawn of the task's examples, and of the cut where it has no dev part."""
    teacher: SourceConfig
    shrink: ShrinkConfig
    publish: PublishConfig
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        check_seed_and_workdir(self.seed, self.workdir)

    @property
    def root(self) -> Folder:
        """The folder under which every stage keeps its own."""
        return Folder(self.storage or self.workdir)


def parameters(config: TaskConfig) -> dict[str, Scalar]:
    """The fields that bear on a run, by their dotted paths, as MLflow shows them."""
    return {name: value for name, value in flat(config).items() if not name.startswith("tracking.")}
