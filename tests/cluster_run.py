"""Does a run on a cluster survive the loss of a machine, and does the cluster keep strangers out?

    make cluster-test          or          python tests/cluster_run.py

Starts a real Ray of two nodes on this machine, with token authentication, and an MLflow server; has `distil doctor`
look at them; submits a short `distil run` as a job through the job API, once in peace and once with SIGKILL for a
whole node half way; and submits once without a token. The last line is one JSON object; the exit status is 0 where all
of it is as it should be.
"""

import json
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from job_api import (  # noqa: E402
    is_refused,
    job_log,
    nodes_of_workers,
    ray_job_submit,
    runtime_env,
    status,
    until_over,
    wait_for_both,
)
from mlflow import MlflowClient  # noqa: E402
from tiny import tiny_bert  # noqa: E402
from tiny_pipeline import tiny_recipe  # noqa: E402
from two_nodes import TwoNodes, two_nodes  # noqa: E402

from pipeline.config.schema import PipelineConfig, to_yaml  # noqa: E402
from pipeline.tracking.config import TrackingConfig  # noqa: E402
from stages.tokens.config import TokensConfig  # noqa: E402

STEPS = 60
TOLERANCE = 1e-4
"""Relative, between the two final held-out losses."""
PEACEFUL, STRUCK = "undisturbed", "killed"
"""The two jobs, their runs and their experiments."""
DOCTOR = "doctor"
"""The job before them."""
LOSS = "final/student/mlm_loss"
"""MLflow's metric: the student's held-out loss, from report.json."""


@dataclass(frozen=True)
class Outcome:
    """The last line."""

    doctor_passed: bool
    """Whether `distil doctor` found both nodes, and nothing of which the undisturbed run would fail."""
    nodes_trained: int
    """On how many nodes the undisturbed run's workers were."""
    killed_at_step: int
    """The last step that a worker had noted when the node was killed."""
    finished: bool
    """Whether both jobs succeeded and both runs reached the last step."""
    loss_undisturbed: float
    loss_killed: float
    refused_without_token: bool

    @property
    def passed(self) -> bool:
        """Whether all is as it should be."""
        close = abs(self.loss_killed - self.loss_undisturbed) <= TOLERANCE * abs(self.loss_undisturbed)
        half_way = 0 < self.killed_at_step < STEPS
        trained = self.nodes_trained == 2 and half_way and self.finished and close
        return self.doctor_passed and trained and self.refused_without_token


def main() -> int:
    """Print what came out; 0 where it is as it should be."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit, too, leaves no process behind
    with two_nodes() as cluster:
        outcome = measure(cluster)
    print(json.dumps(asdict(outcome)))
    return 0 if outcome.passed else 1


def measure(cluster: TwoNodes) -> Outcome:
    """The submissions, one after the other."""
    say("two nodes and an MLflow server are up")
    refused = is_refused(cluster)
    say("a job without the token was " + ("refused" if refused else "taken"))
    recipe = cluster_recipe(cluster)
    wait_for_both(cluster)

    submit(cluster, on_cluster(recipe, cluster, PEACEFUL), DOCTOR, "doctor")
    for _ in until_over(cluster, DOCTOR):
        pass
    table = job_log(cluster, DOCTOR)
    say(f"the doctor's table:\n{table}")

    nodes: set[str] = set()
    submit(cluster, on_cluster(recipe, cluster, PEACEFUL))
    for _ in until_over(cluster, PEACEFUL):
        nodes |= nodes_of_workers(cluster)

    killed_at = 0
    submit(cluster, on_cluster(recipe, cluster, STRUCK))
    for _ in until_over(cluster, STRUCK, every=0.05):
        step = step_on_disk(cluster, STRUCK)
        if not killed_at and step >= STEPS // 2:
            cluster.second.kill()
            killed_at = step
            say(f"the second node was killed at step {step}")

    check_commit(cluster)
    losses = [final_loss(cluster, name) for name in (PEACEFUL, STRUCK)]
    ends = [(status(cluster, name), step_in_mlflow(cluster, name)) for name in (PEACEFUL, STRUCK)]
    return Outcome(
        doctor_passed=status(cluster, DOCTOR) == "SUCCEEDED" and "2 of 2 answer" in table,
        nodes_trained=len(nodes),
        killed_at_step=killed_at,
        finished=all(end == ("SUCCEEDED", STEPS) for end in ends),
        loss_undisturbed=losses[0],
        loss_killed=losses[1],
        refused_without_token=refused,
    )


def cluster_recipe(cluster: TwoNodes) -> PipelineConfig:
    """A run that two nodes have room for with two workers, and one node with one: fp32, no dropout.

    A step is work enough for half way not to be over in a moment. The teacher has learned nothing; its student does.
    """
    shape = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "max_position_embeddings": 40}
    recipe = tiny_recipe(cluster.home, tiny_bert(layers=4, scale=0.02, **shape))
    distil = replace(
        recipe.distil, steps=STEPS, workers=(1, 2), cpus_per_worker=2, threads=1, global_batch=32, micro_batch=32,
        log_every=1, evaluate_every=30, checkpoint_every=7, dropout=0.0, precision="fp32", row_log=True,
    )  # fmt: skip
    return replace(recipe, tokens=TokensConfig(block_length=32, packing="stream"), distil=distil)


def on_cluster(recipe: PipelineConfig, cluster: TwoNodes, name: str) -> PipelineConfig:
    """The recipe with a place of its own on the cluster's storage and in its MLflow."""
    return replace(
        recipe,
        name=name,
        workdir=str(cluster.home / "head" / name),
        storage=str(cluster.home / "storage" / name),
        tracking=TrackingConfig(uri=cluster.mlflow, experiment=name, system_metrics=False),
    )


def submit(cluster: TwoNodes, config: PipelineConfig, job: str | None = None, command: str = "run") -> None:
    """`ray job submit … -- distil run`, as a person does it. The job is called as the config, unless said."""
    file = cluster.home / f"{config.name}.yaml"
    file.write_text(to_yaml(config))
    words = ["--submission-id", job or config.name, "--", "distil", command, "--config", str(file)]
    done = ray_job_submit(cluster, cluster.env, words)
    if done.returncode:
        raise RuntimeError(f"the job {job or config.name} was not taken:\n{done.stdout}{done.stderr}")
    say(f"submitted {job or config.name}")


def step_on_disk(cluster: TwoNodes, name: str) -> int:
    """The last step that a worker has noted in its row log on the shared storage; 0 before the first."""
    logs = (cluster.home / "storage" / name).glob("distil/*/rows/*.csv")
    lines = [line for log in logs for line in log.read_text().splitlines()[-1:]]
    return max((int(line.split(",")[0]) for line in lines), default=0)


def step_in_mlflow(cluster: TwoNodes, name: str) -> int:
    """The latest step whose loss is in MLflow; 0 before the first."""
    history = [point for run in runs(cluster, name) for point in client(cluster).get_metric_history(run, "loss")]
    return max((point.step for point in history), default=0)


def final_loss(cluster: TwoNodes, name: str) -> float:
    """The student's held-out loss as report.json has it."""
    (run,) = runs(cluster, name)
    return float(client(cluster).get_run(run).data.metrics[LOSS])


def check_commit(cluster: TwoNodes) -> None:
    """Raise where the run is not tagged with the commit that was submitted, and whether a file differed from it."""
    (run,) = runs(cluster, PEACEFUL)
    tags, variables = client(cluster).get_run(run).data.tags, runtime_env()["env_vars"]
    found = {"DISTILRAY_COMMIT": tags.get("git_commit"), "DISTILRAY_DIRTY": tags.get("git_dirty")}
    sent = {name: variables[name] for name in found if name in variables}
    if sent and found != sent:
        raise RuntimeError(f"the run says that it was made of {found}; submitted was {sent}")


def runs(cluster: TwoNodes, name: str) -> list[str]:
    """Ids of the runs in the experiment `name`."""
    experiment = client(cluster).get_experiment_by_name(name)
    return [run.info.run_id for run in client(cluster).search_runs([experiment.experiment_id])] if experiment else []


def client(cluster: TwoNodes) -> MlflowClient:
    return MlflowClient(cluster.mlflow)


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
