"""What a worker says of its training: sums to metrics, evaluations, checkpoints."""

import math
import time
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor

from stages.distillation.losses.terms import terms_of
from stages.distillation.mask_options import rate_in
from stages.distillation.step import Counts
from stages.errors import InputError
from stages.evaluation.heldout import score_all
from stages.storage import Folder
from stages.training.channel import Failed, Notice, Report, Saved
from stages.training.checkpoints import checkpoint, snapshot
from stages.training.session import Session


class Log:
    """Means since the last report; turns them into metrics, evaluates and saves. No step waits for the device."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.parts = [part for term in terms_of(session.job.task.weights) for part in term.parts]
        self.divisors: dict[Counts, Tensor] = {}
        """For each counts that a step had so far: on the device once, as no step is to wait for a copy."""
        self.in_a_row = torch.zeros((), device=session.arithmetic.device)
        """Steps without a finite gradient, up to the last one."""
        self._clear()

    def _clear(self) -> None:
        self.means = torch.zeros(len(self.parts), device=self.session.arithmetic.device, dtype=torch.float64)
        self.skipped, self.longest = torch.zeros_like(self.in_a_row), self.in_a_row.clone()
        self.norm = torch.zeros((), device=self.session.arithmetic.device)
        self.steps, self.since = 0, time.perf_counter()

    def add(self, sums: Tensor, norm: Tensor, counts: Counts) -> None:
        """Count one step, whose global batch had `counts`; what one without a finite gradient summed up is left out."""
        learned = torch.isfinite(norm)
        if counts not in self.divisors:
            self.divisors[counts] = self.means.new_tensor([counts.of(part) for part in self.parts])
        self.means += torch.where(learned, sums / self.divisors[counts], 0.0)
        self.skipped += ~learned
        self.in_a_row = (self.in_a_row + 1) * ~learned
        self.longest = torch.maximum(self.longest, self.in_a_row)
        self.norm = torch.where(learned, norm, self.norm)
        self.steps += 1

    def report(self, done: int, learning_rate: float, *, evaluates: bool, saves: bool, last: bool) -> bool:
        """Tell the driver how things stand after `done` steps; all workers call it together.

        False where there is no use in going on: then the driver knows why. A worker that raised would be started
        again, to fail again.
        """
        session = self.session
        seconds = time.perf_counter() - self.since
        if session.workers > 1:
            shared = torch.cat([self.means, self.means.new_tensor([seconds])])
            dist.all_reduce(shared)
            self.means, mean = shared[:-1], float(shared[-1]) / session.workers  # the same on all workers, to the bit
            session.ask_every = max(1, min(session.job.config.log_every, round(self.steps / max(mean, 1e-6))))
        skipped, longest = int(self.skipped), int(self.longest)
        metrics = self._losses(self.steps - skipped) | {
            "learning_rate": learning_rate,
            "grad_norm": float(self.norm),
            "tokens_per_second": self.steps * session.counts(done - 1).positions * session.job.blocks.fill / seconds,
            "epoch": done / session.job.plan.steps_per_epoch,
        }
        if isinstance(session.job.config.mask_rate, tuple) and not session.job.blocks.vocabulary.causal:
            plan = session.job.plan
            epoch = plan.epoch_of(done - 1)
            metrics["mask_rate"] = rate_in(epoch, epochs=plan.epochs, rate=session.job.config.mask_rate)
        state = session.state
        session.state = replace(
            state, step=done, seconds=state.seconds + seconds, skipped_steps=state.skipped_steps + skipped
        )
        problem = self._problem(done, longest, metrics)
        if problem is not None:
            session.channel.put(Failed(error=FloatingPointError(problem)))
            return False
        goes_on = True
        if session.rank == 0:
            metrics |= evaluate(session) if evaluates else {}
            goes_on = tell(session, done, metrics, saves=saves, last=last)
        self._clear()
        return goes_on

    def _losses(self, steps: int) -> dict[str, float]:
        """The terms' parts as means over the global batches since the last report, unweighted but for T², and their
        total. None of them where nothing was learned."""
        if not steps:
            return {}
        found = (self.means / steps).tolist()
        means = [part.scale * mean for part, mean in zip(self.parts, found, strict=True)]
        loss = sum(part.weight * mean for part, mean in zip(self.parts, means, strict=True))
        return {"loss": loss} | {f"loss_{part.name}": mean for part, mean in zip(self.parts, means, strict=True)}

    def _problem(self, done: int, longest: int, metrics: dict[str, float]) -> str | None:
        """Why there is no use in going on; None where there is."""
        remedy = "the checkpoints before are whole: lower the learning rate or set precision to fp32"
        if longest >= self.session.job.config.max_skipped:
            return f"{longest} optimiser steps in a row, around step {done}, had a gradient that is no number; {remedy}"
        if not math.isfinite(metrics.get("loss", 0.0)):
            return f"the loss is {metrics['loss']} around step {done}; {remedy}"
        return None


def tell(session: Session, done: int, metrics: dict[str, float], *, saves: bool, last: bool) -> bool:
    """Report and, where it `saves`, begin a checkpoint that holds this report too. Rank 0 alone.

    A checkpoint that cannot be written is counted and said, and training goes on; but for the last one, without which
    there is no result: then False.
    """
    told = finish_checkpoint(session, wait=saves, last=False)
    state = session.state
    counted = {"skipped_steps": state.skipped_steps, "failed_checkpoints": state.failed_checkpoints}
    metrics |= {name: float(count) for name, count in counted.items() if count}
    if not state.history or state.history[-1]["step"] != done:
        session.state = replace(state, history=(*state.history, {"step": done, **metrics}))
    session.channel.put(Report(step=done, metrics=metrics))
    if saves and done != session.saved_step:
        begin_checkpoint(session, metrics.get("heldout_mlm_loss"))
    return told and (not last or finish_checkpoint(session, wait=True, last=True))


def finish_checkpoint(session: Session, *, wait: bool, last: bool) -> bool:
    """Say what became of the checkpoint that was begun, if it is over; whether training goes on."""
    outcome = session.writer.collect(wait=wait)
    if outcome is None:
        return True
    if outcome.folder is not None:
        session.saved_step = outcome.step
        session.channel.put(Saved(step=outcome.step, folder=outcome.folder))
        return True
    reason = " ".join(str(outcome.error).split())[:200]
    why = (
        f"the checkpoint of step {outcome.step} could not be written to {session.job.folder / 'checkpoints'}: {reason}"
    )
    before = f"the one of step {session.saved_step} is whole" if session.saved_step else "there is none before it"
    session.state = replace(session.state, failed_checkpoints=session.state.failed_checkpoints + 1)
    if last:
        session.channel.put(Failed(error=InputError(f"{why}; {before}. Make room, and give the same command again.")))
    else:
        session.channel.put(Notice(text=f"{why}; {before}, training goes on."))
    return not last


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


def begin_checkpoint(session: Session, heldout_loss: float | None) -> None:
    """Begin to write a checkpoint, and to delete those that are no longer wanted; the best is one that was saved and
    evaluated. Training goes on as soon as the tensors are copied."""
    if heldout_loss is not None and heldout_loss < session.state.best_loss:
        session.state = replace(session.state, best_loss=heldout_loss, best_step=session.state.step)
    job, scaler = session.job, session.arithmetic.scaler
    folder = job.folder / "checkpoints"
    state = replace(session.state, loss_scale=scaler.get_scale() if scaler.is_enabled() else 1.0)
    tensors = snapshot.copied(session.model, session.optimizer)

    def write() -> Folder:
        saved = checkpoint.save(folder, state, session.model, tensors, job.task.start)
        checkpoint.keep_only(folder, job.config.keep_checkpoints, state.best_step)
        return saved

    session.writer.start(state.step, write)
