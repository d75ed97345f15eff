"""Workdirs as runs leave them, without a run."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.config.schema import override, to_yaml
from pipeline.recipes import recipe
from pipeline.records.report import Folders, RunReport, write_report
from pipeline.records.workdir import CONFIG, begin_run, end_run
from stages.evaluation.artifact import ModelScore


def aged(workdir: Path, seconds: float) -> None:
    """Have its run made so much earlier."""
    file = workdir / "run.json"
    data = json.loads(file.read_text())
    for name in ("started", "finished"):
        if data[name] is not None:
            data[name] = (datetime.fromisoformat(data[name]) - timedelta(seconds=seconds)).isoformat()
    file.write_text(json.dumps(data))


def a_report(mlflow_run_id: str, **other: Any) -> RunReport:
    """A report with plain numbers, but for what is given."""
    fields: dict[str, Any] = {
        "recipe": "demo",
        "fingerprint": "ab12",
        "teacher": a_score(0.5, 3.0),
        "student": a_score(0.45, 3.4),
        "student_at_init": a_score(0.3, 4.4),
        "kept_top1": 0.9,
        "size_ratio": 0.7,
        "speedup": 2.0,
        "agreement": 0.8,
        "kl": 0.25,
        "cosine": 0.95,
        "tokens_per_second": 8_000.0,
        "steps": 390,
        "tokens": 1_500_000,
        "peak_memory_mb": 3_000.0,
        "seconds": {"corpus": 10.0, "distil": 180.0},
        "mlflow_run_id": mlflow_run_id,
        "model_uri": "models:/demo/1",
        "champion": True,
        "verdict": "better than its own step 0",
        "heldout_digest": "d1",
        "folders": Folders(teacher="teacher/aa", student="publish/bb"),
    }
    return RunReport(**fields | other)


def a_score(top1: float, loss: float) -> ModelScore:
    return ModelScore(parameters=3_800_000, bytes=15_200_000, mlm_loss=loss, perplexity=30.0, top1=top1, latency_ms=4.0)


def a_run(
    workdir: Path, mlflow_run_id: str, *fields: tuple[str, str], report: RunReport | None = None, ended: bool = True
) -> Path:
    """A workdir of the demo with these fields; without a report it has none."""
    config = override(recipe("demo"), [*fields, ("workdir", str(workdir))])
    begin_run(workdir, config=CONFIG, mlflow_run_id=mlflow_run_id, tracking_uri="sqlite:////data/mlflow.db")
    (workdir / CONFIG).write_text(to_yaml(config), encoding="utf-8")
    if report is not None:
        write_report(workdir, report)
    if ended:
        end_run(workdir)
    return workdir
