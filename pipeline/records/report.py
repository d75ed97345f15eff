"""report.json: what came out of a run, in one file that a script or a person can read."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config.serialisation import from_plain, to_plain
from stages.evaluation.artifact import ModelScore, Predicts
from stages.tasks.artifact import TaskResult

NAME = "report.json"


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The models' folders, relative to the run's storage."""

    teacher: str
    student: str


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """A finished run in figures. Field names are a contract with whoever reads the file."""

    recipe: str
    fingerprint: str
    """Of the published model: equal where config and inputs are."""
    teacher: ModelScore
    student: ModelScore
    student_at_init: ModelScore
    kept_top1: float
    size_ratio: float
    speedup: float
    agreement: float
    kl: float
    cosine: float
    tokens_per_second: float
    """Of the distilling steps."""
    steps: int
    tokens: int
    peak_memory_mb: float
    """Of all the run's processes together, shared memory once, in MiB."""
    seconds: dict[str, float]
    """By stage; what was reused counts what it took when it was made."""
    mlflow_run_id: str
    model_uri: str
    champion: bool
    verdict: str
    """What the gate compared the model with, and the outcome."""
    heldout_digest: str
    folders: Folders
    objective: Predicts = "masked"
    """Which tokens `top1`, `mlm_loss` and `kl` are about: masked ones, or a causal model's next ones."""
    tasks: dict[str, TaskResult] = field(default_factory=dict)
    """By name: labelled tasks that both models were fine-tuned on; empty where there were none."""


def write_report(workdir: Path, report: RunReport) -> None:
    """Write `<workdir>/report.json`."""
    (workdir / NAME).write_text(json.dumps(to_plain(report), indent=2) + "\n", encoding="utf-8")


def read_report(workdir: Path) -> RunReport | None:
    """The workdir's report; None where there is none, or one that cannot be read."""
    path = workdir / NAME
    try:
        return from_plain(RunReport, json.loads(path.read_text(encoding="utf-8")), lenient=True)
    except (FileNotFoundError, ValueError):
        return None
