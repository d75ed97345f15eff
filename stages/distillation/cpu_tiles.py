"""Weights in the tiles that a CPU's bf16 products read.

Given an ordinary weight, oneDNN puts it into tiles anew in every product. One that is multiplied many times unchanged
is tiled once: its products run some 10 % faster, and GELU becomes part of the product before it, in fp32. torch's own
compiler uses the same two operations; where they are missing, or on other hardware, layers stay as they are.

Shapes: O outputs and I inputs of a linear layer.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["none", "gelu"]


def tiles_pay(weight_OI: Tensor) -> bool:
    """Whether this weight is on a CPU, in bf16, and torch has the operations for this CPU (none without AVX-512)."""
    if weight_OI.device.type != "cpu" or weight_OI.dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@torch.no_grad()
def tile(weight_OI: Tensor) -> Tensor:
    """A tiled copy, which only `product` can read."""
    return torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach().contiguous())


def product(x: Tensor, tiles_OI: Tensor, bias_O: Tensor | None, activation: Activation = "none") -> Tensor:
    """activation(x · weightᵀ + bias) in bf16, (…, I) to (…, O); sums and activation are in fp32."""
    kind = "none" if activation == "gelu" else ""  # of GELU: not tanh's approximation
    return torch.ops.mkldnn._linear_pointwise(x, tiles_OI, bias_O, activation, [], kind)


class TiledLinear(nn.Module):
    """A frozen linear layer, and the activation behind it; `keep` the ordinary weight too, for who else reads it."""

    def __init__(
        self, weight_OI: Tensor, bias_O: Tensor | None, activation: Activation = "none", *, keep: bool = False
    ) -> None:
        super().__init__()
        self.tiles_OI = tile(weight_OI)
        self.weight = weight_OI if keep else None
        self.bias = bias_O
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return product(x, self.tiles_OI, self.bias, self.activation)
