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

from stages.distillation.losses.formulas import IGNORE, Coefficients
from stages.distillation.losses.head import Head
from stages.distillation.losses.triple import cosine_distance, vocabulary_losses
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.family import MaskedLM, decoder, encode, head_input

CLIP = 5.0
"""Largest gradient norm; the original's --max_grad_norm."""


@dataclass(frozen=True)
class Batch:
    """A masked micro-batch on the device: ids as both models read them, masked positions, what stood there."""

    input_ids_RL: Tensor
    positions_RM: Tensor
    labels_RM: Tensor

    def masked_index(self) -> Tensor:
        """Indices (R · M,) of the masked positions in the flattened (R · L) batch."""
        rows, length = self.input_ids_RL.shape
        starts = torch.arange(0, rows * length, length, device=self.input_ids_RL.device).unsqueeze(1)
        return (starts + self.positions_RM).flatten()


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many positions the global batch has, and how many workers share it."""

    positions: int
    masked: int
    workers: int = 1


class DistillationModule(nn.Module):
    """What DDP wraps: a masked language model whose forward pass ends in the loss."""

    def __init__(self, model: MaskedLM, weights: LossWeights) -> None:
        super().__init__()
        self.model = model
        self.weights = weights

    def forward(self, batch: Batch, counts: Counts, teacher: MaskedLM | None) -> tuple[Tensor, Tensor]:
        """(loss to differentiate, [Σ KL, Σ CE, Σ (1 − cos)] over this micro-batch's positions, detached)."""
        index = batch.masked_index()
        hidden = encode(self.model, batch.input_ids_RL).flatten(0, 1)
        teacher_hidden = None if teacher is None else encode_teacher(teacher, batch)
        everywhere = teacher is not None and self.weights.alpha_ce > 0 and self.weights.ce_positions == "all"
        if everywhere:
            labels = torch.full((len(hidden),), IGNORE, device=hidden.device)
            labels[index] = batch.labels_RM.flatten()
        else:
            labels = batch.labels_RM.flatten()
        chosen = hidden if everywhere else hidden[index]
        distil = None
        if teacher is not None and teacher_hidden is not None and self.weights.alpha_ce > 0:
            distil = self._teacher_head(teacher, teacher_hidden if everywhere else teacher_hidden[index])
        vocabulary, sums = vocabulary_losses(
            head_input(self.model, chosen).to(logits_dtype(hidden)),
            Head.of(decoder(self.model)),
            labels,
            self._coefficients(counts, counts.positions if everywhere else counts.masked),
            distil,
        )
        if teacher_hidden is None:
            return vocabulary, torch.cat([sums, sums.new_zeros(1)])
        distance = cosine_distance(hidden, teacher_hidden)
        loss = vocabulary + self.weights.alpha_cos / counts.positions * counts.workers * distance
        return loss, torch.cat([sums, distance.detach().unsqueeze(0)])

    def _coefficients(self, counts: Counts, ce_positions: int) -> Coefficients:
        weights = self.weights
        ce = weights.alpha_ce * weights.temperature**2 / ce_positions * counts.workers
        return Coefficients(weights.temperature, ce, weights.alpha_mlm / counts.masked * counts.workers)

    @staticmethod
    def _teacher_head(teacher: MaskedLM, hidden_ND: Tensor) -> tuple[Tensor, Head]:
        with torch.no_grad():
            return head_input(teacher, hidden_ND).to(logits_dtype(hidden_ND)), Head.of(decoder(teacher))


def logits_dtype(hidden: Tensor) -> torch.dtype:
    """The dtype of the vocabulary product: autocast's where it is on (its LayerNorm gives fp32), else `hidden`'s."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def encode_teacher(teacher: MaskedLM, batch: Batch) -> Tensor:
    """The teacher's last hidden states (R · L, D); the teacher is in eval mode, so no dropout.

    Copied once, outside of inference mode: the cosine term's backward pass keeps them.
    """
    with torch.inference_mode():
        hidden = encode(teacher, batch.input_ids_RL).flatten(0, 1)
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
    module: nn.Module, teacher: MaskedLM | None, batches: Sequence[Batch], counts: Counts, arithmetic: Arithmetic
) -> Tensor:
    """Add the gradients of one global batch's share; DDP synchronises in the last micro-batch only.

    Returns this worker's [Σ KL, Σ CE, Σ (1 − cos)], (3,) in fp64.
    """
    total = torch.zeros(3, device=arithmetic.device, dtype=torch.float64)
    for i, batch in enumerate(batches):
        waits = i < len(batches) - 1
        with module.no_sync() if isinstance(module, DistributedDataParallel) and waits else nullcontext():
            with arithmetic.autocast():
                loss, sums = module(batch, counts, teacher)
            arithmetic.scaler.scale(loss).backward()
        total += sums
    return total


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
