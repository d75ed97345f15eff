"""One fine-tuning, and what the model then answers; over the optimiser, schedule and precision of the distillation.

Shapes: R inputs of a batch, L tokens, C outputs, I inputs of a split, N tokens of all of them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from stages.distillation.schedule import dropout_seed, learning_rate_factor
from stages.distillation.step import Arithmetic, adamw, update
from stages.models import has_token_types
from stages.tasks.fine_tuning.batches import TaskBatch, batch_of, by_length, order
from stages.tasks.fine_tuning.inputs import IGNORED, Inputs
from stages.tasks.fine_tuning.taught import Taught, taught_loss
from stages.tasks.task import Kind


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one fine-tuning goes."""

    learning_rate: float
    epochs: int
    batch: int
    warmup: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A number's mean and spread over train: heads learn it as a distance from the mean in spreads."""

    mean: float = 0.0
    spread: float = 1.0


def scale_of(kind: Kind, labels: NDArray[Any]) -> Scale:
    """Of what train has for labels; of classes and the like there is none."""
    if kind != "number":
        return Scale()
    return Scale(mean=float(labels.mean()), spread=float(labels.std()) or 1.0)


def in_spread(said: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    """Numbers as distances from train's mean in its spread; of classes and the like, with no scale, what they were."""
    return ((said - scale.mean) / scale.spread).astype(np.float32)


def fine_tune(
    model: PreTrainedModel,
    inputs: Inputs,
    kind: Kind,
    setting: Setting,
    *,
    seed: int,
    pad: int,
    arithmetic: Arithmetic,
    taught: Taught | None = None,
    plain_numbers: bool = False,
) -> None:
    """Teach `model`, in place, the answers beside `inputs`; and, with `taught`, what a teacher said to them too.

    `plain_numbers`: the model's head says a number as it is, and goes on to; what was `taught` is `in_spread`.
    """
    model.train()
    steps = setting.epochs * math.ceil(len(inputs) / setting.batch)
    optimizer = adamw(model, learning_rate=setting.learning_rate, weight_decay=setting.weight_decay)
    scale, step = scale_of(kind, inputs.labels), 0
    for epoch in range(setting.epochs):
        for rows in order(inputs.lengths_I, batch=setting.batch, seed=seed, epoch=epoch):
            batch = batch_of(inputs, rows, kind=kind, pad=pad, device=arithmetic.device)
            torch.manual_seed(dropout_seed(seed, step, 0))
            with arithmetic.autocast():
                outputs = outputs_of(model, batch, kind)
            if plain_numbers:
                outputs = (outputs - scale.mean) / scale.spread
            loss = loss_of(outputs, batch, kind, scale)
            if taught is not None:
                loss = (1 - taught.alpha) * loss + taught.alpha * taught_loss(outputs, batch, kind, inputs, taught)
            arithmetic.scaler.scale(loss).backward()
            factor = learning_rate_factor(step, steps=steps, warmup=setting.warmup)
            update(model, optimizer, setting.learning_rate * factor, arithmetic)
            step += 1
    model.eval()


def outputs_of(model: PreTrainedModel, batch: TaskBatch, kind: Kind) -> Tensor:
    """What the head says, in fp32: (R, C) of texts, (R,) of numbers, (R, L, C) of tokens, (R, L, 2) of spans."""
    types = {"token_type_ids": batch.types_RL} if has_token_types(model.config) else {}
    said = model(input_ids=batch.input_ids_RL, attention_mask=batch.real_RL, **types)
    if kind == "spans":
        return torch.stack([said.start_logits, said.end_logits], dim=-1).float()
    return said.logits.float().squeeze(-1) if kind == "number" else said.logits.float()


def loss_of(outputs: Tensor, batch: TaskBatch, kind: Kind, scale: Scale) -> Tensor:
    """The mean over the batch: cross-entropy of classes, words and an answer's two ends, squared error of a number in
    its own spread."""
    labels = batch.labels
    if kind == "number":
        return nn.functional.mse_loss(outputs, (labels - scale.mean) / scale.spread)
    if kind == "classes":
        return nn.functional.cross_entropy(outputs, labels)
    if kind == "tokens":
        return nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    masked = outputs.masked_fill(batch.real_RL.logical_not().unsqueeze(-1), -torch.inf)
    return nn.functional.cross_entropy(masked.transpose(1, 2).flatten(0, 1), labels.flatten())


@torch.inference_mode()
def said_to(
    model: PreTrainedModel, inputs: Inputs, kind: Kind, *, batch: int, pad: int, arithmetic: Arithmetic
) -> NDArray[np.float32]:
    """What the model, in eval mode, says to all inputs: (I, C) of texts, (I,) of numbers, in their spread; (N, C) of
    tokens and (N, 2) of spans, token by token as `inputs` has them."""
    model.eval()
    parts: dict[int, NDArray[np.float32]] = {}
    for rows in by_length(inputs, batch):
        given = batch_of(inputs, rows, kind=kind, pad=pad, device=arithmetic.device)
        with arithmetic.autocast():
            outputs = outputs_of(model, given, kind).cpu().numpy()
        lengths = inputs.lengths_I[rows]
        for place, row in enumerate(rows):
            parts[int(row)] = outputs[place, : lengths[place]] if kind in ("tokens", "spans") else outputs[place]
    in_order = [parts[row] for row in range(len(inputs))]
    return np.concatenate(in_order) if kind in ("tokens", "spans") else np.stack(in_order)
