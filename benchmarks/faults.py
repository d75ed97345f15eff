"""Does a run that is killed again and again end with the very same result?

    python benchmarks/faults.py [--kills 10] [--seed 0] [--steps 1200] [--json]

A real Ray of two nodes on this machine and an MLflow server; a small `distil run` with a worker on each node, submitted
through the job API: once in peace, and once with SIGKILL for a worker, the driver or a whole node at random steps. What
was killed is started again as a cluster would: Ray Train restarts workers, the same command is submitted again, a node
takes the lost one's place. With `--json` the last line is one object.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cluster_run import client, on_cluster, say, submit  # noqa: E402
from faults_audit import blocks_of, check_rows, done, in_mlflow, only_child, same_bits, state_of  # noqa: E402
from job_api import job_log, status  # noqa: E402
from tiny_pipeline import tiny_recipe  # noqa: E402
from two_nodes import Node, TwoNodes, two_nodes  # noqa: E402

from pipeline.config.schema import PipelineConfig  # noqa: E402
from stages.distillation.data.data_order import Plan  # noqa: E402

KINDS = ("worker", "driver", "node")
CHECKPOINT_EVERY = 20
PATIENCE = 240.0
"""Seconds that a restart may take on a busy machine."""


class Victim:
    """A run on the cluster that can be struck."""

    def __init__(self, cluster: TwoNodes, config: PipelineConfig) -> None:
        self.cluster, self.config = cluster, config
        self.second: Node = cluster.second
        self.jobs: list[str] = []
        self.submit()

    @property
    def training(self) -> Path:
        """The distil stage's folder; only once there is one."""
        return only_child(Path(self.config.storage or "") / "distil")

    def submit(self) -> None:
        """The same command, as a job of another name."""
        name = f"{self.config.name}-{len(self.jobs)}"
        submit(self.cluster, self.config, name)
        self.jobs.append(name)

    def done(self) -> int:
        """Steps done, at the furthest."""
        return done(self.training) if (Path(self.config.storage or "") / "distil").exists() else 0

    def starts(self) -> int:
        """How often a worker has begun to learn."""
        return len(list((self.training / "rows").iterdir()))

    def is_over(self) -> bool:
        """Whether its latest job has ended; RuntimeError where that failed by itself."""
        said = status(self.cluster, self.jobs[-1])
        if said not in ("PENDING", "RUNNING", "SUCCEEDED"):
            raise RuntimeError(f"{self.jobs[-1]} {said}:\n{job_log(self.cluster, self.jobs[-1])}")
        return said == "SUCCEEDED"

    def strike(self, kind: str) -> None:
        """SIGKILL, and what a cluster or a person does about it."""
        if kind == "worker":
            workers = [p for p in descendants(self.cluster) if "RayTrainWorker" in command_of(p)]
            os.kill(random.choice(workers).pid, signal.SIGKILL)
        elif kind == "driver":
            file = str(self.cluster.home / f"{self.config.name}.yaml")
            for process in descendants(self.cluster):
                if "distil" in (command := command_of(process)) and file in command:
                    os.kill(process.pid, signal.SIGKILL)
            wait(lambda: status(self.cluster, self.jobs[-1]) not in ("PENDING", "RUNNING"))
            self.submit()
        else:
            self.second.kill()
            self.second = self.cluster.start_another()


def descendants(cluster: TwoNodes) -> list[psutil.Process]:
    """All processes of this cluster: another Ray may be at work on the machine."""
    roots = [psutil.Process(started.pid) for started in cluster.started if started.poll() is None]
    return [process for root in roots for process in root.children(recursive=True)]


def command_of(process: psutil.Process) -> str:
    """Its command line; empty where it has just ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def wait(condition: Callable[[], bool]) -> None:
    """Return once it holds; TimeoutError after four minutes."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {PATIENCE:.0f} s")
        time.sleep(0.05)


def in_peace(cluster: TwoNodes, config: PipelineConfig) -> Victim:
    """To its end, with no fault."""
    run = Victim(cluster, config)
    wait(run.is_over)
    return run


def struck(cluster: TwoNodes, config: PipelineConfig, kills: list[tuple[int, str]]) -> tuple[Victim, list[float]]:
    """To its end, with a fault at each of these steps; also the seconds from each to the next step that was done."""
    run, seconds = Victim(cluster, config), []
    for step, kind in kills:
        wait(lambda step=step: run.done() >= step or run.is_over())  # type: ignore[misc]
        before, at, started = run.starts(), run.done(), time.monotonic()
        run.strike(kind)
        wait(lambda before=before: run.starts() > before + 1)  # type: ignore[misc]
        seconds.append(time.monotonic() - started)
        say(f"{kind} killed at step {at}: training again after {seconds[-1]:.1f} s")
    wait(run.is_over)
    return run, seconds


def config_of(recipe: PipelineConfig, cluster: TwoNodes, name: str, steps: int) -> PipelineConfig:
    """Two workers, with dropout, a report for every step."""
    config = on_cluster(recipe, cluster, name)
    distil = replace(
        config.distil, steps=steps, workers=2, threads=1, precision="fp32", dropout=0.1, log_every=1, row_log=True,
        checkpoint_every=CHECKPOINT_EVERY, evaluate_every=100, max_failures=-1,
    )  # fmt: skip
    return replace(config, distil=distil)


def measure(kills: int, seed: int, steps: int) -> dict[str, Any]:
    """Both runs, and one beside the other."""
    rng = random.Random(seed)
    kinds = [KINDS[i % len(KINDS)] for i in range(kills)]
    rng.shuffle(kinds)
    at = sorted(rng.sample(range(steps // 20, steps * 9 // 10), kills))
    with two_nodes() as cluster:
        say("two nodes and an MLflow server are up")
        recipe = tiny_recipe(cluster.home)
        peaceful = in_peace(cluster, config_of(recipe, cluster, "peaceful", steps))
        say("the run without faults is over")
        config = config_of(recipe, cluster, "struck", steps)
        run, seconds = struck(cluster, config, list(zip(at, kinds, strict=True)))
        say("the run with faults is over")
        blocks = blocks_of(Path(config.storage or ""))
        shard_rows = tuple(shard.rows for shard in blocks.shards)
        plan = Plan(shard_rows=shard_rows, global_batch=config.distil.global_batch, steps=steps, seed=config.seed)
        rows, state = check_rows(run.training, blocks, plan), state_of(run.training)
        gaps, duplicates, statuses = in_mlflow(client(cluster), config.name, state_of(peaceful.training).history)
        return {
            "kills": dict(Counter(kinds)),
            "finished": state.step == steps and statuses == '["FINISHED"]',
            "bit_identical": same_bits(run.training, peaceful.training),
            "rows_repeated": rows.repeated,
            "rows_skipped": rows.skipped,
            "lost_steps": steps - len({report["step"] for report in state.history}),
            "recomputed_steps": rows.recomputed_steps,
            "recomputed_steps_allowed": kills * CHECKPOINT_EVERY,
            "mlflow_gaps": gaps,
            "mlflow_duplicates": duplicates,
            "restart_seconds": median(seconds) if seconds else 0.0,
        }


def first_batch() -> dict[str, float]:
    """benchmarks/first_batch.py, in a process with a Ray of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "first_batch.py"), "--json"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(said.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit, too, leaves no process behind
    found = measure(asked.kills, asked.seed, asked.steps) | first_batch()
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<26} {value}" for name, value in found.items()))
    names = ("rows_repeated", "rows_skipped", "lost_steps", "mlflow_gaps", "mlflow_duplicates")
    whole = found["finished"] and found["bit_identical"] and not any(found[name] for name in names)
    return 0 if whole and found["recomputed_steps"] <= found["recomputed_steps_allowed"] else 1


if __name__ == "__main__":
    sys.exit(main())
