"""Everything that can be known to be wrong before anything expensive starts."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pipeline.config.schema import PipelineConfig
from pipeline.config.secrets import check_secrets
from pipeline.runtime.cluster import has_other_machines, machines_without
from pipeline.tracking.store import check as check_tracking
from stages.corpus.checks import check as check_corpus
from stages.distillation.data.data_order import Plan
from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import family_of
from stages.distillation.models.starts import check_start
from stages.errors import ConfigError
from stages.storage import Folder
from stages.teacher.fitness import preflight as teacher
from stages.tokens.packing.words import check_words
from stages.training.driver import gpu_wanted


def preflight(config: PipelineConfig) -> None:
    """Check what needs no Ray: secrets, storage, corpus, teacher, student, tracking.

    Raises `InputError` for the first thing wrong.
    """
    check_secrets(config, os.environ)
    check_storage(config)
    for tokens in (config.tokens, *(phase.tokens() for phase in (config.pretrain.phases if config.pretrain else ()))):
        check_words(tokens, config.corpus.language)
    check_corpus(config.corpus, config.root)
    if config.pretrain is None:
        check_student(config, teacher.check(config.teacher))
    check_tracking(config.tracking, workers_elsewhere=False)


class Stored(Protocol):
    """A config that says where a run is kept."""

    @property
    def storage(self) -> str | None:
        """A folder that every machine sees, where one is given."""

    @property
    def root(self) -> Folder:
        """The folder under which every stage keeps its own."""


def check_storage(config: Stored) -> None:
    """Whether `storage`, where it is given, is an address by which everything below it can be named and written."""
    if config.storage is None:
        return
    if "?" in config.storage:
        raise ConfigError(
            "storage",
            config.storage,
            "must have no ? in it: another server than Amazon's goes into AWS_ENDPOINT_URL, a region into AWS_REGION",
        )
    config.root.check_writable()


def check_student(config: PipelineConfig, teacher_config: Any) -> None:
    """Whether a student of this teacher can be made and fed as the config says."""
    family = family_of(teacher_config)
    family.choose(config.distil.layers, teacher_config)
    check_start(config.distil.start, teacher_config, config.distil.student)
    if family.objective is CAUSAL and config.tokens.mask_unit != "token":
        rule = f"masks what a {family.called(teacher_config)} never sees masked; leave it at token"
        raise ConfigError("tokens.mask_unit", config.tokens.mask_unit, rule)
    length, positions = config.tokens.block_length, family.positions(teacher_config)
    if length > positions:
        rule = f"must be at most {positions}, the teacher's positions"
        raise ConfigError("tokens.block_length", length, rule)
    batch = config.distil.global_batch
    Plan(shard_rows=(batch,), global_batch=batch, steps=1, seed=0).streams_of(0, config.distil.most_workers)


@contextmanager
def preflighted(config: PipelineConfig, *, reads_corpus: bool) -> Iterator[None]:
    """The block runs once the cluster has passed `preflight_on_cluster`: no run in MLflow is there to fail before.
    `reads_corpus`: whether the text has yet to be read."""
    others = has_other_machines()
    preflight_on_cluster(config, others)
    if others and reads_corpus:
        check_seen_everywhere(config)
    yield


def check_seen_everywhere(config: PipelineConfig) -> None:
    """Raise `ConfigError` for a path of the corpus on this machine that another machine of the cluster does not see:
    whichever has a free CPU reads it."""
    paths = [fixed_part(path) for path in config.corpus.paths if "://" not in path]
    here = [path for path in paths if os.path.exists(path)]  # a data set's name on the hub is none
    for machine, missing in machines_without(here).items():
        rule = f"is not there on {machine}, a machine of the cluster; give a folder that all see, s3:// or gs://"
        raise ConfigError("corpus.paths", missing, rule)


def fixed_part(pattern: str) -> str:
    """The absolute path of the folder that a glob begins in; a path without wildcards as it is."""
    whole = os.path.abspath(os.path.expanduser(pattern))
    if not (wildcard := re.search(r"[*?\[]", whole)):
        return whole
    return os.path.dirname(whole[: wildcard.start()])


def preflight_on_cluster(config: PipelineConfig, other_machines: bool) -> None:
    """Check what only a running Ray can tell: GPUs, and whether every machine reaches storage and tracking."""
    if config.pretrain is None or config.until != "teacher":
        gpu_wanted(config.distil)
    check_tracking(config.tracking, workers_elsewhere=other_machines)
    if other_machines and config.root.is_local and config.storage is None:
        raise ConfigError(
            "storage",
            None,
            f"workers run on other machines, which do not see {config.workdir}; give a shared folder, s3:// or gs://",
        )
