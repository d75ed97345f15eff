"""A worker's loop: stream, step, report, checkpoint. Runs in every Ray Train worker, the same code on each."""

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForMaskedLM

from stages import checkpoint
from stages.checkpoint import TrainState
from stages.distillation.anatomy import MaskedLM
from stages.distillation.machine import attention_for, dtype_of, keep_freed_memory
from stages.distillation.masking import Masked, MaskRule, mask_rule
from stages.distillation.schedule import learning_rate_factor
from stages.distillation.step import Arithmetic, Batch, Counts, Learner, accumulate, adamw, update
from stages.heldout import Heldout, heldout, score_all
from stages.storage import Folder
from stages.stream import share_of, stream
from stages.train import Job


@dataclass
class Session:
    """What a worker holds while it trains."""

    job: Job
    rank: int
    workers: int
    arithmetic: Arithmetic
    learner: nn.Module
    """The `Learner`, inside DDP where there are several workers."""
    model: MaskedLM
    teacher: MaskedLM | None
    optimizer: torch.optim.Optimizer
    rule: MaskRule
    counts: Counts
    held: Heldout | None
    """On rank 0 only."""
    state: TrainState


def loop(config: dict[str, Job]) -> None:
    """Train from the newest checkpoint to the plan's last step. `config` holds the `Job`; Ray Train wants a dict."""
    job = config["job"]
    session = begin(job, ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size())
    share = share_of(
        job.blocks,
        job.plan,
        session.rule,
        seed=job.seed,
        worker=session.rank,
        workers=session.workers,
        first_step=session.state.step,
    )
    learn(session, stream(share))


def learn(session: Session, batches: Iterable[Masked]) -> None:
    """One optimiser step for every batch, with reports, evaluations and checkpoints on the way."""
    job, config = session.job, session.job.config
    log = Log(session)
    for step, masked in enumerate(batches, start=session.state.step):
        torch.manual_seed(dropout_seed(job.seed, step, session.rank))
        factor = learning_rate_factor(step, steps=job.plan.steps, warmup=config.warmup)
        parts = micro_batches(masked, config.micro_batch, session.arithmetic.device)
        sums = accumulate(session.learner, session.teacher, parts, session.counts, session.arithmetic)
        norm = update(session.learner, session.optimizer, config.learning_rate * factor, session.arithmetic)
        log.add(sums, norm)
        done, last = step + 1, step + 1 == job.plan.steps
        evaluates = last or done % config.evaluate_every == 0
        saves = last or done % config.checkpoint_every == 0
        reports = evaluates or saves or done % config.log_every == 0
        if reports and not log.report(done, config.learning_rate * factor, evaluates=evaluates, saves=saves):
            return


def begin(job: Job, rank: int, workers: int) -> Session:
    """Load models and optimiser on this worker's device, and the newest checkpoint where there is one."""
    device = ray.train.torch.get_device() if job.use_gpu else torch.device("cpu")
    torch.set_num_threads(job.config.threads or max(1, len(os.sched_getaffinity(0)) // local_workers()))
    if device.type == "cpu":
        keep_freed_memory()
    dtype = dtype_of(job.config.precision, device)
    arithmetic = Arithmetic(
        device=device, dtype=dtype, scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    )
    model = load_model(job.lesson.start, torch.float32, device, dropout=job.config.dropout).train()
    teacher = None
    if job.lesson.teacher is not None:
        # Frozen, so its weights can have the dtype that its products have anyway: half the memory, no casts.
        teacher = load_model(job.lesson.teacher, dtype, device).eval().requires_grad_(False)
    optimizer = adamw(model, learning_rate=job.config.learning_rate, weight_decay=job.config.weight_decay)
    last = checkpoint.newest(job.folder / "checkpoints")
    state = TrainState(step=0) if last is None else checkpoint.load(last, model, optimizer)
    if state.loss_scale != 1.0:
        arithmetic.scaler.load_state_dict({**arithmetic.scaler.state_dict(), "scale": state.loss_scale})
    learner: nn.Module = Learner(model, job.lesson.weights)
    if workers > 1:
        learner = DistributedDataParallel(
            learner, device_ids=[device] if device.type == "cuda" else None, gradient_as_bucket_view=True
        )
    rule = rule_of(job)
    held = None
    if rank == 0:
        held = heldout(job.blocks, most=job.config.evaluate_blocks, micro_batch=job.config.micro_batch, device=device)
    counts = Counts(
        positions=job.plan.global_batch * job.blocks.block_length,
        masked=job.plan.global_batch * rule.masked_per_block,
        workers=workers,
    )
    return Session(job, rank, workers, arithmetic, learner, model, teacher, optimizer, rule, counts, held, state)


class Log:
    """Sums since the last report; turns them into metrics, evaluates and saves. No step waits for the device."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._clear()

    def _clear(self) -> None:
        self.sums = torch.zeros(3, device=self.session.arithmetic.device)
        self.norm: Tensor | None = None
        self.steps, self.since = 0, time.perf_counter()

    def add(self, sums: Tensor, norm: Tensor) -> None:
        """Count one step."""
        self.sums += sums
        self.norm, self.steps = norm, self.steps + 1

    def report(self, done: int, learning_rate: float, *, evaluates: bool, saves: bool) -> bool:
        """Tell Ray Train, hence the driver, how things stand after `done` steps; all workers call it together.

        False where the loss is no number any more: a worker that failed would be started again, to fail again.
        """
        session = self.session
        if session.workers > 1:
            dist.all_reduce(self.sums)
        metrics = self._losses()
        seconds = time.perf_counter() - self.since
        metrics |= {
            "learning_rate": learning_rate,
            "grad_norm": 0.0 if self.norm is None else float(self.norm),
            "tokens_per_second": self.steps * session.counts.positions / seconds,
            "epoch": done / session.job.plan.steps_per_epoch,
        }
        session.state = replace(session.state, step=done, seconds=session.state.seconds + seconds)
        if not math.isfinite(metrics["loss"]):
            why = (
                f"the loss is {metrics['loss']} around step {done}; the checkpoints before it are whole: "
                "lower the learning rate or set precision to fp32"
            )
            ray.train.report({"step": done, "diverged": why})
            return False
        saved = None
        if session.rank == 0:
            metrics |= evaluate(session) if evaluates else {}
            session.state = replace(session.state, history=(*session.state.history, {"step": done, **metrics}))
            saved = save(session, metrics.get("heldout_mlm_loss")) if saves else None
        ray.train.report({"step": done, **metrics, "checkpoint": saved and saved.uri})
        self._clear()
        return True

    def _losses(self) -> dict[str, float]:
        """The terms as means over the global batches since the last report, unweighted but for T², and their total."""
        session, weights = self.session, self.session.job.lesson.weights
        kl, mlm, distance = (self.sums / max(1, self.steps)).tolist()
        mlm /= session.counts.masked
        if session.teacher is None:
            return {"loss": weights.alpha_mlm * mlm, "loss_mlm": mlm}
        positions = session.counts.positions if weights.ce_positions == "all" else session.counts.masked
        ce, cos = kl * weights.temperature**2 / positions, distance / session.counts.positions
        total = weights.alpha_ce * ce + weights.alpha_mlm * mlm + weights.alpha_cos * cos
        return {"loss": total, "loss_ce": ce, "loss_mlm": mlm, "loss_cos": cos}


def evaluate(session: Session) -> dict[str, float]:
    """Held-out metrics of the model as it is."""
    if session.held is None:
        return {}
    with session.arithmetic.autocast():
        scores, closeness = score_all(session.model, session.held, session.teacher)
    metrics = {"heldout_mlm_loss": float(scores.mlm_loss.mean()), "heldout_top1": float(scores.top1.mean())}
    if closeness is not None:
        metrics["heldout_kl"] = float(closeness.kl.mean())
        metrics["heldout_agreement"] = float(closeness.agreement.mean())
    return metrics


def save(session: Session, heldout_loss: float | None) -> Folder:
    """Write a checkpoint and delete those that are no longer wanted; the best is one that was saved and evaluated."""
    folder, config = session.job.folder / "checkpoints", session.job.config
    if heldout_loss is not None and heldout_loss < session.state.best_loss:
        session.state = replace(session.state, best_loss=heldout_loss, best_step=session.state.step)
    scaler = session.arithmetic.scaler
    state = replace(
        session.state,
        loss_scale=scaler.get_scale() if scaler.is_enabled() else 1.0,
        micro_batch=config.micro_batch,
    )
    saved = checkpoint.save(folder, state, session.model, session.optimizer, session.job.lesson.start)
    checkpoint.keep_only(folder, config.keep_checkpoints, session.state.best_step)
    return saved


def micro_batches(masked: Masked, size: int, device: torch.device) -> list[Batch]:
    """A worker's rows of one global batch, cut into micro-batches on its device."""
    tensors = [
        torch.as_tensor(a).to(device, dtype=torch.int64, non_blocking=True).split(size)
        for a in (masked.input_ids_RL, masked.positions_RM, masked.labels_RM)
    ]
    return [Batch(*part) for part in zip(*tensors, strict=True)]


def rule_of(job: Job) -> MaskRule:
    """The mask rule that the training blocks' vocabulary counts give."""
    vocabulary = job.blocks.vocabulary
    return mask_rule(
        job.blocks.counts(),
        special_ids=vocabulary.special_ids,
        mask_id=vocabulary.mask_id,
        block_length=job.blocks.block_length,
        rate=job.config.mask_rate,
        smoothing=job.config.mask_smoothing,
    )


def load_model(folder: Folder, dtype: torch.dtype, device: torch.device, dropout: float | None = None) -> MaskedLM:
    """A masked language model from a transformers folder; `dropout` overrides every dropout in it."""
    with folder.as_local() as local:
        model = AutoModelForMaskedLM.from_pretrained(local, dtype=dtype, attn_implementation=attention_for(device))
    if dropout is not None:
        for module in model.modules():  # attention's too: both classes read its probability from an nn.Dropout
            if isinstance(module, nn.Dropout):
                module.p = dropout
    return model.to(device)


def dropout_seed(seed: int, step: int, rank: int) -> int:
    """The seed of a step's dropout: a function of where training stands, so that no generator need be saved."""
    return ((seed * 1_000_003 + step) * 65_537 + rank) % 2**63  # torch takes no more bits


def local_workers() -> int:
    """Workers on this machine."""
    return int(ray.train.get_context().get_local_world_size())
