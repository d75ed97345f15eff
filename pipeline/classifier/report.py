"""report.json of a smaller classifier: what came out, in one file that a script or a person can read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.serialisation import from_plain, to_plain
from pipeline.records.report import NAME, Folders
from stages.classifier.artifact import Chosen, ClassifierScore
from stages.tasks.task import Kind


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """A finished `distil task` in figures. Field names are a contract with whoever reads the file."""

    command: Literal["task"]
    name: str
    """The registered model's."""
    fingerprint: str
    """Of the published model: equal where config and inputs are."""
    task: str
    kind: Kind
    metric: str
    train: int
    chosen_on: int
    n: int
    dev_digest: str
    teacher: ClassifierScore
    student: ClassifierScore
    kept: float
    """Student's score / teacher's."""
    interval: tuple[float, float]
    """Of `kept`: 95 % over dev's examples."""
    size_ratio: float
    """Student's parameters / teacher's."""
    speedup: float
    """Teacher's latency / student's."""
    chosen: Chosen
    notes: tuple[str, ...]
    seconds: dict[str, float]
    """By stage; what was reused counts what it took when it was made."""
    mlflow_run_id: str
    model_uri: str
    champion: bool
    verdict: str
    """What the gate compared the model with, and the outcome."""
    folders: Folders
    """Relative to the run's storage."""


def write_task_report(workdir: Path, report: TaskReport) -> None:
    """Write `<workdir>/report.json`."""
    (workdir / NAME).write_text(json.dumps(to_plain(report), indent=2) + "\n", encoding="utf-8")


def read_task_report(workdir: Path) -> TaskReport | None:
    """The workdir's report; None where there is none, or one of another command."""
    try:
        return from_plain(TaskReport, json.loads((workdir / NAME).read_text(encoding="utf-8")), lenient=True)
    except (FileNotFoundError, ValueError):
        return None
