"""Operations of a training's matrix products, from the configs of its models: no weights, no text, no device.

Counted as for an MFU: 2 · n · i · o for each product with a weight and for attention's two, once in a teacher and three
times in a model that learns; nothing that is computed twice counts twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from stages.distillation.families.family import LanguageModel, blocks_of
from stages.distillation.families.table import family_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.parts import decoder
from stages.models import model_like

LEARNING = 3
"""Times the products of a forward pass: once forward, and twice backward, for the input and for the weight."""


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Operations of a model's forward pass."""

    body: float
    """Of a token, without attention."""
    attention: float
    """Of a token, for each position that it may look at; windows, borders and causality make it less."""
    head: float
    """Of a position at which words are predicted."""

    def over(self, block_length: int, predicted: float) -> float:
        """Of a block with words predicted at so many positions."""
        return block_length * (self.body + self.attention * block_length) + predicted * self.head


def forward_of(config: Any, layers: Sequence[int] | None = None) -> Forward:
    """Of the model with this config, or of its blocks `layers` alone between the same embeddings and head."""
    with torch.device("meta"):  # shapes without memory
        model = model_like(config, torch.float32, torch.device("meta"))
    blocks = blocks_of(family_of(config), model)
    chosen = range(len(blocks)) if layers is None else layers
    inside = {id(module) for block in blocks for module in block.modules()}
    rest = [module for module in model.base_model.modules() if id(module) not in inside]
    products = _products([*rest, *(module for number in chosen for module in blocks[number].modules())])
    return Forward(
        body=2.0 * products,
        attention=4.0 * config.hidden_size * len(chosen),
        head=2.0 * _head_products(model),
    )


def block_flops(
    student: Forward, teacher: Forward | None, weights: LossWeights, block_length: int, asked: float
) -> float:
    """Of learning from one block, in which tokens are asked for at `asked` positions."""
    predicted = block_length if weights.alpha_ce > 0 and weights.ce_positions == "all" else asked
    found = LEARNING * student.over(block_length, predicted)
    if teacher is not None and weights.taught:
        found += teacher.over(block_length, predicted if weights.alpha_ce > 0 else 0)
    return found


def _head_products(model: LanguageModel) -> int:
    """Weights that a position is multiplied with in the head, the vocabulary's among them."""
    body = {id(module) for module in model.base_model.modules()}
    heads = [module for module in model.modules() if id(module) not in body and module is not decoder(model)]
    return _products(heads) + decoder(model).weight.numel()


def _products(modules: Sequence[nn.Module]) -> int:
    return sum(module.weight.numel() for module in modules if isinstance(module, nn.Linear | Conv1D))
