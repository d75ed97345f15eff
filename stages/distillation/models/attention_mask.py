"""Which positions attend to which: within a piece, within a window, to what was before. One mask for all of it.

Shapes: R rows (1 where all are alike), L length.
"""

from typing import Any

import torch
from torch import Tensor

from stages.distillation.data.segments import Segments
from stages.distillation.models.piece_attention import PIECES, allowed


def attention_mask(
    model: Any,
    embedded_RLD: Tensor,
    segments: Segments | None,
    *,
    causal: bool = False,
    window: int | None = None,
    plain: bool = False,
) -> Tensor | Segments | None:
    """What the attention of `model` takes for a mask over its input `embedded_RLD`.

    (R, 1, L, L): numbers to add in plain products, truth in torch's fused attention; the pieces themselves, or nothing,
    where attention knows by itself what is `causal` and what its `window` is: the farthest distance that is seen.
    `plain`: the model has plain products alone.
    """
    kind = "eager" if plain else model.config._attn_implementation
    if kind == PIECES:
        return segments
    together = allowed(segments, embedded_RLD.shape[1], embedded_RLD.device, causal=causal, window=window)
    if together is None or kind != "eager":
        return together
    device = embedded_RLD.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype
    return torch.zeros(together.shape, dtype=dtype, device=together.device).masked_fill_(
        together.logical_not(), torch.finfo(dtype).min
    )
