"""The whole pipeline's config: one field for each stage's own, to and from YAML."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import yaml

from pipeline.config.overrides import Scalar, flat, override
from pipeline.config.serialisation import from_plain, to_plain
from pipeline.tracking.config import TrackingConfig
from pipeline.tuning.config import TuneConfig
from stages.corpus.config import CorpusConfig
from stages.distil.config import DistilConfig
from stages.errors import ConfigError, InputError
from stages.evaluation.config import EvaluateConfig
from stages.publish.config import PublishConfig
from stages.storage import Folder
from stages.teacher.config import TeacherConfig
from stages.teacher.pretrain_config import PretrainConfig
from stages.tokens.config import TokensConfig

T = TypeVar("T")
_MOST = 5
"""Names in a notice."""

_UNTIL = ("teacher", "distil", "evaluate", "publish")
"""The stages at which a run may stop, in order."""

__all__ = ["PipelineConfig", "bearing", "flat", "from_yaml", "override", "read_yaml", "to_yaml"]


def _ignore(_: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Everything a run is made from. `name`, `workdir`, `storage`, `from_search` and `tracking` bear on no result."""

    name: str
    """The recipe's name; the MLflow run and the registered model are called after it."""
    workdir: str
    """A folder on this machine for the report and, unless `storage` is given, for all the rest."""
    storage: str | None = None
    """Where blocks, checkpoints and records go: a folder that every machine sees, or s3:// or gs://."""
    seed: int = 0
    """From which every random choice follows: masks, order, dropout, initial weights."""
    until: Literal["teacher", "distil", "evaluate", "publish"] = "publish"
    """The last stage that runs."""
    corpus: CorpusConfig
    tokens: TokensConfig
    pretrain: PretrainConfig | None = None
    """A teacher made from nothing, in the place of `teacher.model`."""
    teacher: TeacherConfig
    distil: DistilConfig
    tune: TuneConfig = field(default_factory=TuneConfig)
    """The search that `distil tune` makes over `distil`; bears on no other stage."""
    from_search: str | None = None
    """MLflow's run id of the search that `distil` has its setting from."""
    evaluate: EvaluateConfig
    publish: PublishConfig
    tracking: TrackingConfig

    def __post_init__(self) -> None:
        check_seed_and_workdir(self.seed, self.workdir)

    @property
    def root(self) -> Folder:
        """The folder under which every stage keeps its own."""
        return Folder(self.storage or self.workdir)


def check_seed_and_workdir(seed: int, workdir: str) -> None:
    """Raises `ConfigError` for one that no run can have."""
    if not 0 <= seed < 2**32:
        raise ConfigError("seed", seed, "must be from 0 to 4294967295")
    if not workdir:
        raise ConfigError("workdir", workdir, "must be a folder, such as runs/mine")


def bearing(config: PipelineConfig, *, search: bool = False) -> dict[str, Scalar]:
    """The fields that bear on a run, or on a search, by their dotted paths: without those of stages that it has not.

    MLflow shows them a row each, and a hundred hide the ten that matter; config.yaml has all.
    """
    idle = tuple(_idle(config, search))
    return {name: value for name, value in flat(config).items() if not name.startswith(idle)}


def _idle(config: PipelineConfig, search: bool) -> Iterator[str]:
    """What the names of fields begin with that nothing of a run, or of a search, looks at."""
    last = "distil" if search else config.until
    yield "tracking."
    yield from (f"{stage}." for stage in _UNTIL[_UNTIL.index(last) + 1 :])
    if last == "teacher":
        yield from ("tokens.", "teacher.adapt_steps")
    if last == "teacher" or not config.teacher.adapt_steps:
        yield "teacher.adapt."
    if config.pretrain is None:
        yield "pretrain"
    else:
        yield from ("teacher.model", "teacher.revision")
    yield from ("until", "from_search") if search else ("tune.",)


def to_yaml(config: object) -> str:
    """Every field of `config`; `from_yaml` makes an equal one of it."""
    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True, width=120)


def from_yaml(text: str, source_name: str, on_notice: Callable[[str], None] = _ignore) -> PipelineConfig:
    """The config that `to_yaml` wrote; raises `InputError` naming `source_name` and the path of what is wrong.

    What an older version wrote may lack fields that have a default: they get it, and `on_notice` is told which.
    """
    return read_yaml(PipelineConfig, text, source_name, on_notice)


def read_yaml(kind: type[T], text: str, source_name: str, on_notice: Callable[[str], None] = _ignore) -> T:
    """A `kind` from YAML; raises, and tells, as `from_yaml` does."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{source_name} is not YAML: {problem}.") from error
    if not isinstance(data, Mapping):
        raise InputError(f"{source_name} holds no config: it must be a table of fields, as a run's config.yaml is.")
    try:
        config = from_plain(kind, data, complete=False)
    except InputError as error:
        raise InputError(f"{source_name}: {error}") from error
    given = flat(data)
    if lacking := [name for name in flat(config) if name not in given]:
        on_notice(f"{source_name} does not give {_listed(lacking)}: there the default is taken.")
    return config


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are: a whole group may be missing."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
