"""A workdir's small files, kept in the storage too: a machine that begins anew, its own disk lost, goes on with them.

They lie in `<storage>/run/<hash of the config as it was asked for>/`, where the same command finds them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.redaction import redacted
from pipeline.config.schema import PipelineConfig, to_yaml
from pipeline.records.pins import NAME as PINS
from pipeline.records.report import NAME as REPORT
from pipeline.records.workdir import CONFIG, NAME, read_run
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.run import workdir_of
from stages.errors import InputError
from stages.storage import Folder

FOLDER = "run"
_FILES = (PINS, CONFIG, REPORT, NAME)
"""run.json last: without it a workdir has no run."""


@dataclass(frozen=True, kw_only=True)
class StorageCopy:
    """Of the run that a config asks for; without a storage there is none, and nothing is done."""

    folder: Folder | None
    workdir: Path

    def write(self) -> None:
        """Keep what the workdir has now; raises OSError where the storage cannot be written."""
        for name in _FILES if self.folder is not None else ():
            if self.folder is not None and (self.workdir / name).exists():
                self.folder.write_bytes(name, (self.workdir / name).read_bytes())

    def restore(self, say: Callable[[str], object]) -> None:
        """Put the files into a workdir that has no run yet, so that it goes on under its id in MLflow; where MLflow
        does not know that one, only which commits the names on the hub were."""
        if self.folder is None or read_run(self.workdir) is not None:
            return
        try:
            there = self.folder.exists(NAME)
        except OSError:  # what is wrong with the storage is said by who checks it, before anything runs
            return
        if not there:
            return
        with self.folder.as_local() as copy:
            names = _FILES if self._is_known(copy, say) else (PINS,)
            for name in names:
                if (copy / name).exists():
                    Folder(str(self.workdir)).write_bytes(name, (copy / name).read_bytes())

    def _is_known(self, copy: Path, say: Callable[[str], object]) -> bool:
        """Whether the newest run in `copy` is in the MLflow where it was recorded."""
        run = read_run(copy)
        if run is None or run.tracking_uri is None or not run.mlflow_run_ids:
            return False
        newest = run.mlflow_run_ids[-1]
        try:
            workdir_of(TrackingConfig(uri=run.tracking_uri), newest)
        except InputError as error:
            say(f"run {newest}, as which this was begun, cannot go on: {redacted(str(error))}")
            return False
        say(f"begun before as run {newest}: {self.folder} says so, and {self.workdir} has it again.")
        return True


def storage_copy(config: PipelineConfig, workdir: Path) -> StorageCopy:
    """That of the run which `config` asks for, before its names on the hub are resolved."""
    if config.storage is None:
        return StorageCopy(folder=None, workdir=workdir)
    asked = hashlib.sha256(to_yaml(config).encode()).hexdigest()[:16]
    return StorageCopy(folder=config.root / FOLDER / asked, workdir=workdir)
