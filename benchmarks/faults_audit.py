"""What a run with faults came to, beside the plan, beside a run without, and as MLflow has it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from pipeline.records.record import read_artifact, read_record
from stages.distillation.data.data_order import Plan
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint
from stages.training.checkpoints.checkpoint import TrainState


@dataclass(frozen=True)
class Rows:
    """What the workers' own logs say, against the plan."""

    repeated: int
    """Rows that a global batch has oftener than the plan gives it."""
    skipped: int
    """Rows that the plan gives a global batch and that it does not have."""
    recomputed_steps: int
    """Steps that were done once more after a restart."""


def only_child(folder: Path) -> Path:
    """The one stage folder in `folder`."""
    (found,) = (child for child in folder.iterdir() if child.is_dir())
    return found


def last_checkpoint(training: Path) -> Folder:
    """The newest whole one of a training's folder."""
    found = checkpoint.newest(Folder(str(training / "checkpoints")))
    if found is None:
        raise FileNotFoundError(f"no whole checkpoint in {training}")
    return found


def same_bits(one: Path, other: Path) -> bool:
    """Whether two trainings' last checkpoints hold the same weights and moments, to the last bit."""
    for name in ("model.safetensors", "optimizer.safetensors"):
        mine, theirs = (load_file(last_checkpoint(folder).path / name) for folder in (one, other))
        if mine.keys() != theirs.keys() or not all(torch.equal(mine[key], theirs[key]) for key in mine):
            return False
    return True


def logged(training: Path) -> Iterator[tuple[int, str, list[int]]]:
    """(step, rank, rows) of every line that a worker has logged, by the time at which the worker was started."""
    for file in sorted((training / "rows").iterdir()):
        for line in file.read_text().splitlines():
            step, *rows = map(int, line.split(","))
            yield step, file.stem.rsplit("-", 1)[1], rows


def done(training: Path) -> int:
    """Steps that rank 0 has done, at its furthest; 0 before the first."""
    if not (training / "rows").exists():
        return 0
    return max((step + 1 for step, rank, _ in logged(training) if rank == "0"), default=0)


def check_rows(training: Path, blocks: Blocks, plan: Plan) -> Rows:
    """Compare. Of a step that was done again, what a worker did last is what counts: it came from the checkpoint."""
    final: dict[tuple[int, str], list[int]] = {}
    lines = 0
    for step, rank, rows in logged(training):
        final[step, rank] = rows
        lines += rank == "0"
    found: dict[int, Counter[int]] = {step: Counter() for step in range(plan.steps)}
    for (step, _), rows in final.items():
        found[step].update(rows)
    repeated = skipped = 0
    for window in plan.windows(0):
        for step, batch in enumerate(plan.window_batches(window, range(plan.streams)), start=window.first_step):
            if step < plan.steps:
                planned = Counter(batch.tolist())
                repeated += (found[step] - planned).total()
                skipped += (planned - found[step]).total()
    return Rows(repeated=repeated, skipped=skipped, recomputed_steps=lines - plan.steps)


def blocks_of(storage: Path) -> Blocks:
    """What the run's `tokens` stage has recorded."""
    folder = Folder(str(only_child(storage / "tokens")))
    record = read_record(folder)
    if record is None:
        raise FileNotFoundError(f"no record in {folder}")
    return read_artifact(Blocks, record, folder)


def state_of(training: Path) -> TrainState:
    """The last checkpoint's."""
    return checkpoint.read_state(last_checkpoint(training))


def in_mlflow(client: MlflowClient, experiment: str, history: tuple[dict[str, float], ...]) -> tuple[int, int, str]:
    """(values of `history` that MLflow lacks, values that it has more than once, the runs' status)."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id]) if found else []
    gaps = duplicates = 0
    for name in {name for report in history for name in report if name != "step"}:
        expected = {int(report["step"]) for report in history if name in report}
        steps = [point.step for run in runs for point in client.get_metric_history(run.info.run_id, name)]
        gaps += len(expected - set(steps))
        duplicates += len(steps) - len(set(steps))
    return gaps, duplicates, json.dumps([run.info.status for run in runs])
