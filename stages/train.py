"""Ray Train's driver: starts the workers, hands them their job and passes on what they report.

For teacher and student alike: a `Lesson` says what is learned (from which weights, with which teacher and loss), a
`TrainConfig` how. The workers' loop is `stages/loop.py`, one step of it `stages/distillation/step.py`.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from stages import checkpoint
from stages.blocks import Blocks
from stages.capacity import most_gpus
from stages.distillation.masking import masked_per_block
from stages.distillation.plan import Plan
from stages.errors import ConfigError, InputError, Preempted, unwrap
from stages.job import Job, Lesson
from stages.loop import loop
from stages.mail import listen
from stages.shards import settle_shards
from stages.storage import Folder
from stages.train_config import TrainConfig
from stages.where import Where

CONTROLLER = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a worker that died is seen, and one that is done
    "RAY_TRAIN_METRICS_ENABLED": "0",  # for Ray's own Prometheus; ours are in MLflow
}
"""Settings that Ray Train's controller takes from the environment; what is there already stays."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training: its last checkpoint and what it took."""

    checkpoint: Folder
    steps: int
    tokens: int
    seconds: float
    """In steps, over all starts; without start-up."""
    history: tuple[dict[str, float], ...]

    @property
    def tokens_per_second(self) -> float:
        """Throughput of the steps themselves."""
        return self.tokens / max(self.seconds, 1e-9)


def fit(job: Job) -> None:
    """Run a job's workers under Ray Train, each in a process of its own, until all have ended; raises Ray's errors."""

    trainer = TorchTrainer(
        loop,
        # A reference: Ray Train's controller, which only hands it on, would import the workers' libraries to read it.
        train_loop_config={"job": ray.put(job)},
        scaling_config=scaling(job.config, job.use_gpu),
        run_config=RunConfig(
            # A new name every time: what is continued is our checkpoint, found by its manifest, never Ray's.
            name=f"train-{time.time_ns():x}",
            storage_path=(job.folder / "ray").uri,
            failure_config=FailureConfig(max_failures=job.config.max_failures),
        ),
    )
    trainer.fit()


def train(
    config: TrainConfig,
    lesson: Lesson,
    blocks: Blocks,
    where: Where,
    *,
    steps: int | None = None,
    fit: Callable[[Job], None] = fit,
) -> Trained:
    """Train `lesson` on `blocks` to the end; continues from the newest whole checkpoint in `where.folder`.

    `steps` overrides what `config` says of the length; `fit` is who has the workers' loop called. What was reported
    before the checkpoint is told to `where` once more, since whoever listens may have missed its end.

    Raises `InputError` for a corpus smaller than a batch, a GPU that is not there, more workers than can share, a mask
    rate that masks nothing, or a damaged shard; FloatingPointError where the gradients stay no finite numbers;
    `Preempted` once `where.should_stop()` and a checkpoint is written.
    """
    if not masked_per_block(blocks.block_length, config.mask_rate):
        rule = f"masks none of the positions of a block of {blocks.block_length} tokens"
        raise ConfigError("distil.mask_rate", config.mask_rate, rule)
    if config.row_log and not where.folder.is_local:
        raise ConfigError("distil.row_log", True, f"lines cannot be appended to files in {where.folder}")
    use_gpu = gpu_wanted(config)
    steps = steps or config.total_steps(blocks.rows)
    plan_of(config, blocks, steps, where.seed)  # refuses what cannot be, before every shard is read
    settled = settle_shards(blocks, where.folder, skip=config.on_damaged == "skip")
    if settled.damaged:
        where.on_notice(f"{len(settled.damaged)} damaged block shards are left out: {', '.join(settled.damaged)}")
    plan = plan_of(config, settled.blocks, steps, where.seed)
    os.environ.update(CONTROLLER | os.environ)
    with listen(where, steps) as heard:
        job = Job(
            lesson=lesson,
            config=config,
            plan=plan,
            blocks=settled.blocks,
            folder=where.folder,
            seed=where.seed,
            use_gpu=use_gpu,
            mailbox=heard.mailbox,
        )
        problem: BaseException | None = None
        try:
            fit(job)
        except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
            problem = error
    (where.folder / "ray").remove()
    if heard.failures:
        raise heard.failures[0]
    if problem is not None:
        raise unwrap(problem) from problem
    if heard.stopped is not None:
        raise Preempted(heard.stopped)
    return finished(where.folder, steps, steps * config.global_batch * blocks.block_length)


def plan_of(config: TrainConfig, blocks: Blocks, steps: int, seed: int) -> Plan:
    """The order of `blocks`; raises `InputError` where they are too few, or the workers too many."""
    plan = Plan(
        shard_rows=tuple(shard.rows for shard in blocks.shards),
        global_batch=config.global_batch,
        steps=steps,
        seed=seed,
    )
    plan.streams_of(0, config.most_workers)
    return plan


def scaling(config: TrainConfig, use_gpu: bool) -> ScalingConfig:
    """How many workers, and what each books from Ray."""
    cpus = config.cpus_per_worker or worker_cpus(config.most_workers)
    return ScalingConfig(
        num_workers=config.workers,
        placement_strategy="SPREAD",  # over machines: a lost one takes as few workers with it as can be
        use_gpu=use_gpu,
        resources_per_worker={"CPU": cpus, **({"GPU": config.gpu_share} if use_gpu else {})},
    )


def finished(folder: Folder, steps: int, tokens: int) -> Trained:
    """The result that the last checkpoint holds."""
    last = checkpoint.newest(folder / "checkpoints")
    if last is None:
        raise RuntimeError(f"training ended without a checkpoint in {folder}")
    state = checkpoint.read_state(last)
    if state.step != steps:
        raise RuntimeError(f"training ended at step {state.step} of {steps}; its newest checkpoint is {last}")
    return Trained(checkpoint=last, steps=steps, tokens=tokens, seconds=state.seconds, history=state.history)


def gpu_wanted(config: TrainConfig) -> bool:
    """Whether workers get GPUs; `InputError` where they are asked for and the cluster has too few."""
    there = most_gpus()
    if config.gpu and there < config.fewest_workers * config.gpu_share:
        asked = f"distil.gpu asks for {config.fewest_workers} GPU(s)"
        raise InputError(f"{asked} and this cluster has {there}; drop --distil.gpu or add GPUs.")
    return bool(there) if config.gpu is None else config.gpu


def worker_cpus(workers: int) -> float:
    """CPUs that each worker books. Half the cluster at most: reading and masking must find a place beside them, or
    Ray waits for ever without a word."""
    share = ray.cluster_resources().get("CPU", 1.0) / 2 / workers
    return 1.0 if share >= 1 else max(0.01, round(share, 2))
