"""Which run in MLflow an ablation is, written down as it begins: one that was killed goes on under the same id."""

import json
from dataclasses import dataclass

from pipeline.config.serialisation import from_plain, to_plain
from stages.storage import Folder

STAGE = "ablation"
"""An ablation lies in `<root>/ablation/<fingerprint>`, as a stage of this name would."""
_FILE = "begun.json"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The content of that file."""

    mlflow_run_id: str
    store: str
    """MLflow's address, absolute."""
    ended: bool
    """Whether MLflow has had its end."""


def read(folder: Folder) -> Begun | None:
    """Of the ablation in this folder; None where it has not begun."""
    if not folder.exists(_FILE):
        return None
    return from_plain(Begun, json.loads(folder.read_bytes(_FILE)), lenient=True)


def write(folder: Folder, begun: Begun) -> None:
    """Over what was there."""
    folder.write_bytes(_FILE, json.dumps(to_plain(begun)).encode())
