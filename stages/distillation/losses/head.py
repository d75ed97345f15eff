"""A decoder as the losses see it: logits = hidden · weightᵀ + bias.

Shapes: C positions of a chunk, V vocabulary, D width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stages.distillation.cpu_tiles import product
from stages.distillation.hardware import KEPT_BYTES


@dataclass(frozen=True)
class Head:
    """Weight and bias, and the weight once more in tiles where it is frozen and that pays."""

    weight_VD: Tensor
    bias_V: Tensor
    tiles_VD: Tensor | None = None

    @classmethod
    def of(cls, decoder: Any) -> "Head":
        """The tensors of an `nn.Linear` or a `TiledLinear`, its own, so that gradients reach them; zeros where there is
        no bias."""
        weight = decoder.weight
        bias = weight.new_zeros(len(weight)) if decoder.bias is None else decoder.bias
        return cls(weight, bias, getattr(decoder, "tiles_OI", None))

    def to(self, dtype: torch.dtype) -> "Head":
        """Detached, in `dtype`: cast once for all chunks. Tiles are of the weight's dtype, so another has none."""
        tiles = self.tiles_VD if dtype == self.weight_VD.dtype else None
        return Head(self.weight_VD.detach().to(dtype), self.bias_V.detach().to(dtype), tiles)

    def logits(self, hidden_CD: Tensor, temperature: float, out_CV: Tensor) -> Tensor:
        """Logits / temperature, (C, V) in the head's dtype; `out_CV` has room for them and may be written over.

        Tiles are not used where the allocator would give such a tensor's memory back: the product has no place of its
        own for its result, and zeroed pages cost more than tiles save.
        """
        scale = 1 / temperature
        if self.tiles_VD is not None and out_CV.nbytes <= KEPT_BYTES:
            return product(hidden_CD * scale, self.tiles_VD, self.bias_V * scale)
        out = out_CV[: len(hidden_CD)]
        return torch.addmm(self.bias_V, hidden_CD, self.weight_VD.t(), beta=scale, alpha=scale, out=out)
