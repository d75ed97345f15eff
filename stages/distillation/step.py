"""One optimiser step: micro-batches in, one update out; a function of tensors, the same for a teacher and a student.

Means are over the *global* batch, whose counts are known beforehand: each term is sum / count · workers, because DDP
averages gradients over workers. So every position weighs the same wherever it was computed, and unequal shares are
right. Shapes: R rows of a micro-batch, L length, M masked positions a row, D width.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.distillation.data.batch import Batch
from stages.distillation.families.family import LanguageModel
from stages.distillation.losses.terms import Outputs, Part, Term, terms_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.parts import encode

CLIP = 5.0
"""Largest gradient norm; the original's --max_grad_norm."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many positions the global batch has by the plan, padding among them, and how many workers share it."""

    positions: int
    masked: int
    workers: int = 1

    def of(self, part: Part) -> int:
        """What this part's sum is divided by."""
        return self.positions if part.count == "positions" else self.masked

    def coefficients(self, term: Term) -> tuple[float, ...]:
        """What each of the term's sums is multiplied by in this worker's loss."""
        return tuple(part.weight * part.scale / self.of(part) * self.workers for part in term.parts)


class DistillationModule(nn.Module):
    """What DDP wraps: a language model whose forward pass ends in the loss."""

    def __init__(self, model: LanguageModel, weights: LossWeights) -> None:
        super().__init__()
        self.model = model
        self.terms = terms_of(weights)

    def forward(self, batch: Batch, counts: Counts, teacher: LanguageModel | None) -> tuple[Tensor, Tensor]:
        """(loss to differentiate, the sums of all terms' parts over this micro-batch, detached)."""
        outputs = self._outputs(batch, teacher if any(term.taught for term in self.terms) else None)
        found = [term.compute(outputs, counts.coefficients(term)) for term in self.terms]
        return sum_of([loss for loss, _ in found]), torch.cat([sums for _, sums in found])

    def _outputs(self, batch: Batch, teacher: LanguageModel | None) -> Outputs:
        hidden, index = encode(self.model, batch.input_ids_RL, batch.segments).flatten(0, 1), batch.asked_index()
        theirs = None if teacher is None else encode_teacher(teacher, batch)
        if batch.segments is not None:
            real_N = batch.segments.real_N
            hidden, index = hidden.index_select(0, real_N), torch.searchsorted(real_N, index)
            theirs = None if theirs is None else theirs.index_select(0, real_N)
        return Outputs(self.model, hidden, teacher, theirs, index, batch.labels())


def sum_of(losses: Sequence[Tensor]) -> Tensor:
    """Of one or more scalars, in their order."""
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total


def encode_teacher(teacher: LanguageModel, batch: Batch) -> Tensor:
    """The teacher's last hidden states (R · L, D); the teacher is in eval mode, so no dropout.

    Copied once, outside of inference mode: the cosine term's backward pass keeps them.
    """
    with torch.inference_mode():
        hidden = encode(teacher, batch.input_ids_RL, batch.segments).flatten(0, 1)
    return hidden.clone()


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """In which precision a device computes: autocast's dtype, and a scaler where that dtype is fp16."""

    device: torch.device
    dtype: torch.dtype
    scaler: torch.amp.GradScaler

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 or fp16 for matrix products, fp32 where the sums are; nothing at all in fp32 and fp64."""
        if self.dtype in (torch.float32, torch.float64):
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def accumulate(
    module: nn.Module, teacher: LanguageModel | None, batches: Sequence[Batch], counts: Counts, arithmetic: Arithmetic
) -> Tensor:
    """Add the gradients of one global batch's share; DDP synchronises in the last micro-batch only.

    Returns this worker's sums, one for each part of its terms in their order, (parts,) in fp64.
    """
    found: list[Tensor] = []
    for i, batch in enumerate(batches):
        waits = i < len(batches) - 1
        with module.no_sync() if isinstance(module, DistributedDataParallel) and waits else nullcontext():
            with arithmetic.autocast():
                loss, sums = module(batch, counts, teacher)
            arithmetic.scaler.scale(loss).backward()
        found.append(sums.double())
    return sum_of(found)


def update(module: nn.Module, optimizer: torch.optim.Optimizer, learning_rate: float, arithmetic: Arithmetic) -> Tensor:
    """Clip, step, and clear the gradients; returns the gradient norm before clipping, a scalar on the device.

    Where the norm is no finite number, nothing is learned: weights and moments stay as they are. Fused AdamW looks at
    `found_inf` on the device, so nobody waits for the norm. After DDP's sync every worker has the same norm, and skips
    the same steps.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    arithmetic.scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    optimizer.found_inf = torch.isfinite(norm).logical_not().float()  # type: ignore[attr-defined]
    optimizer.step()  # not the scaler's: it would look at the gradients alone, whose squares may overflow in the norm
    arithmetic.scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return norm


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW as the original's: betas (0.9, 0.98), eps 1e-6, no decay of biases and LayerNorms (they are vectors)."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
