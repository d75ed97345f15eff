"""Ray Train's driver: starts the workers, hands them their job and passes on what they report.

For teacher and student alike: a `TrainingTask` says what is learned (from which weights, with which teacher and loss),
a `TrainConfig` how. The workers' loop is `worker.py`, one step of it `stages/distillation/step.py`.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from stages.cluster_capacity import most_gpus
from stages.context import StageContext
from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import masked_per_block
from stages.distillation.mask_options import ends_of
from stages.errors import ConfigError, InputError, Preempted, unwrap
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.tokens.usable_shards import usable_shards
from stages.training.channel import listen
from stages.training.checkpoints import checkpoint
from stages.training.config import TrainConfig
from stages.training.job import Job, TrainingTask
from stages.training.worker import loop

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
    task: TrainingTask,
    blocks: Blocks,
    context: StageContext,
    *,
    steps: int | None = None,
    fit: Callable[[Job], None] = fit,
) -> Trained:
    """Train `task` on `blocks` to the end; continues from the newest whole checkpoint in `context.folder`.

    `steps` overrides what `config` says of the length; `fit` is who has the workers' loop called. What was reported
    before the checkpoint is told to `context` once more, since whoever listens may have missed its end.

    Raises `InputError` for a corpus smaller than a batch, a GPU that is not there, more workers than can share, a mask
    rate that masks nothing, or a damaged shard; FloatingPointError where the gradients stay no finite numbers;
    `Preempted` once `context.should_stop()` and a checkpoint is written.
    """
    masks = not blocks.vocabulary.causal
    if masks and not all(masked_per_block(blocks.block_length, rate) for rate in ends_of(config.mask_rate)):
        rule = f"masks none of the positions of a block of {blocks.block_length} tokens"
        raise ConfigError("distil.mask_rate", config.mask_rate, rule)
    if config.row_log and not context.folder.is_local:
        raise ConfigError("distil.row_log", True, f"lines cannot be appended to files in {context.folder}")
    use_gpu = gpu_wanted(config)
    steps = steps or config.total_steps(blocks.rows)
    plan_of(config, blocks, steps, context.seed)  # refuses what cannot be, before every shard is read
    usable = usable_shards(blocks, context.folder, skip=config.on_damaged == "skip")
    if usable.damaged:
        context.on_notice(f"{len(usable.damaged)} damaged block shards are left out: {', '.join(usable.damaged)}")
    plan = plan_of(config, usable.blocks, steps, context.seed)
    if masks and isinstance(config.mask_rate, tuple) and plan.epochs == 1:
        context.on_notice(f"there is one epoch: all of it has the first distil.mask_rate, {config.mask_rate[0]}.")
    os.environ.update(CONTROLLER | os.environ)
    with listen(context, steps) as received:
        job = Job(
            task=task,
            config=config,
            plan=plan,
            blocks=usable.blocks,
            folder=context.folder,
            seed=context.seed,
            use_gpu=use_gpu,
            channel=received.channel,
        )
        problem: BaseException | None = None
        try:
            fit(job)
        except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
            problem = error
    (context.folder / "ray").remove()
    if received.failures:
        raise received.failures[0]
    if problem is not None:
        raise unwrap(problem) from problem
    if received.stopped is not None:
        raise Preempted(received.stopped)
    return finished(context.folder, steps, round(steps * config.global_batch * blocks.block_length * blocks.fill))


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
