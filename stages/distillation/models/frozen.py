"""A teacher that is only read: no dropout, no gradients, one dtype, weights as the hardware reads them."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation
from transformers.pytorch_utils import Conv1D

from stages.distillation.cpu_tiles import Activation, TiledLinear, tiles_pay
from stages.distillation.families.family import LanguageModel, blocks_of
from stages.distillation.families.table import family_of
from stages.distillation.losses.cpu import reads_tiles
from stages.distillation.models.parts import decoder


def freeze(teacher: LanguageModel, dtype: torch.dtype) -> LanguageModel:
    """Changed in place: it computes what it did, in `dtype`, and can be neither trained nor saved any more.

    Its weights can have the dtype that its products have anyway: half the memory, and no casts.
    """
    teacher = teacher.eval().requires_grad_(False).to(dtype)
    last = decoder(teacher)
    if not tiles_pay(last.weight):
        return teacher
    family = family_of(teacher.config)
    if family.activation is not None:
        for block in blocks_of(family, teacher):
            _join(block, *family.activation)
    for name, module in list(teacher.named_modules()):
        if isinstance(module, nn.Linear | Conv1D) and (module is not last or reads_tiles(last.weight)):
            teacher.set_submodule(name, _tiled(module, keep=module is last))
    return teacher


def _join(block: Any, linear: str, activation: str) -> None:
    """A linear layer and the GELU behind it as one product."""
    if type(block.get_submodule(activation)) is GELUActivation:
        block.set_submodule(linear, _tiled(block.get_submodule(linear), "gelu"))
        block.set_submodule(activation, nn.Identity())


def _tiled(linear: Any, activation: Activation = "none", *, keep: bool = False) -> TiledLinear:
    """`keep` the ordinary weight too, for who else reads it. GPT-2's layers hold theirs the other way round."""
    weight_OI: Tensor = linear.weight.t() if isinstance(linear, Conv1D) else linear.weight
    return TiledLinear(weight_OI, linear.bias, activation, keep=keep)
