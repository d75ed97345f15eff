"""Was last night slower than the one before? A folder of benchmarks' figures becomes a run in MLflow.

    python benchmarks/record.py FOLDER [--experiment nightly]

FOLDER, as `.ci/nightly` makes it, holds a file `<benchmark>.json` for each benchmark, whose last line is what that
prints with `--json`. Every number in them is a metric, such as `step/demo/ours/tokens_per_second`; the machine and the
commit are tags. The run goes where `distil run` without `--tracking.uri` would put it: to MLFLOW_TRACKING_URI, or into
runs/mlflow.db. Prints what differs by more than a tenth from the run before it on the same kind of machine.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.runtime.environment import environment
from pipeline.runtime.hardware import hardware
from pipeline.tracking.live_run import legal
from pipeline.tracking.run import quiet_mlflow
from pipeline.tracking.store import TrackingConfig, store_of
from stages.errors import InputError

CHANGE = 0.1
"""Share of a figure by which it must differ from the last one to be spoken of: one night is no quieter than that."""


def figures(found: object, path: str) -> Iterator[tuple[str, float]]:
    """(path/to/number, value) of every number in nested objects and lists; yes is 1 and no is 0. Text is left out."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield from figures(value, f"{path}/{name}")
    elif isinstance(found, list):
        for index, value in enumerate(found):
            yield from figures(value, f"{path}/{index}")
    elif isinstance(found, bool | int | float):
        yield path, float(found)


def read(folder: Path) -> dict[str, float]:
    """All figures in a folder; raises `InputError` where there are none, or a file's last line is no JSON."""
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*.json")):
        lines = file.read_text(encoding="utf-8").strip().splitlines()
        try:
            found |= figures(json.loads(lines[-1] if lines else ""), file.stem)
        except json.JSONDecodeError as error:
            raise InputError(f"the last line of {file} is no JSON: run the benchmark again, with --json.") from error
    if not found:
        raise InputError(f"{folder} holds no figures: write what benchmarks print with --json into {folder}/NAME.json.")
    return found


def record(found: Mapping[str, float], experiment: str, config: TrackingConfig) -> tuple[str, dict[str, float]]:
    """Log `found` as a run; its id, and the figures of the run before it on such a machine (empty: there is none)."""
    mlflow, store = quiet_mlflow(), store_of(config)
    if store.file is not None:
        store.file.parent.mkdir(parents=True, exist_ok=True)
    client = mlflow.MlflowClient(store.uri)
    there = client.get_experiment_by_name(experiment)
    place = there.experiment_id if there else client.create_experiment(experiment, artifact_location=store.artifacts)
    made, machine = environment(), hardware()
    last = client.search_runs(
        [place], f"tags.machine = '{machine}' and status = 'FINISHED'", order_by=["start_time DESC"], max_results=1
    )
    tags = {"machine": machine, "commit": made.commit or "unknown", "dirty": str(made.dirty)}
    run_id = client.create_run(place, run_name=time.strftime("%Y-%m-%d %H:%M"), tags=tags).info.run_id
    now = int(time.time() * 1000)
    metrics = [mlflow.entities.Metric(legal(name), value, now, 0) for name, value in found.items()]
    for start in range(0, len(metrics), 1000):  # as many as MLflow takes at a time
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    client.set_terminated(run_id)
    return run_id, dict(last[0].data.metrics) if last else {}


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """A line for each figure that is not what it was."""
    both = [(name, before[legal(name)], value) for name, value in now.items() if legal(name) in before]
    changed = [one for one in both if abs(one[2] - one[1]) > CHANGE * abs(one[1])]
    return [f"{name}: {old:,.4g} → {new:,.4g}" for name, old, new in changed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiment", default="nightly")
    asked: Any = parser.parse_args()
    try:
        found = read(asked.folder)
        run_id, before = record(found, asked.experiment, TrackingConfig())
    except InputError as error:
        raise SystemExit(str(error)) from error
    print(f"{len(found)} figures are run {run_id} of the experiment {asked.experiment}")
    if not before:
        print("there is no run before it on such a machine")
    for line in changes(before, found):
        print(line)


if __name__ == "__main__":
    main()
