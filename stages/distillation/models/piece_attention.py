"""Attention within the pieces of packed blocks, on a GPU: only what is looked at is computed.

FlashAttention takes the pieces of all rows laid end to end and where each ends; a mask over whole blocks would have it
compute, and throw away, what lies between pieces. transformers calls it by the name `PIECES`, as it calls its own.
Where it cannot be (fp32, dropout, another device) torch's fused attention takes a mask, and gives the same.

Shapes: R rows (1 where all are alike), H heads, L length, D width of a head.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from stages.distillation.data.segments import Segments

PIECES = "distilray_pieces"


def allowed(
    segments: Segments | None, length: int, device: torch.device, *, causal: bool, window: int | None
) -> Tensor | None:
    """Whether a position, a row of the mask, may look at another, (R, 1, L, L) bool; None where all may look at all."""
    found = None if segments is None else segments.together_R1LL()
    if not causal and window is None:
        return found
    place_L = torch.arange(length, device=device)
    behind_LL = place_L.unsqueeze(1) - place_L
    near_LL = behind_LL >= 0 if causal else behind_LL.abs() <= (window or 0)
    return near_LL.view(1, 1, length, length) if found is None else found & near_LL


def attend(
    module: nn.Module,
    query_RHLD: Tensor,
    key_RHLD: Tensor,
    value_RHLD: Tensor,
    segments: Segments | Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """(R, L, H, D), as transformers' own attention functions; `segments` comes where they get a mask. `sliding_window`
    is the farthest distance that is seen, and one."""
    causal = bool(getattr(module, "is_causal", False))
    window = None if sliding_window is None else sliding_window - 1
    half = query_RHLD.dtype in (torch.float16, torch.bfloat16)
    if not isinstance(segments, Segments) or not query_RHLD.is_cuda or not half or dropout > 0:
        mask, whole = segments, causal and segments is None and window is None and query_RHLD.shape[2] > 1
        if isinstance(segments, Segments) or (segments is None and window is not None):
            mask = allowed(segments, query_RHLD.shape[2], query_RHLD.device, causal=causal, window=window)
        out, _ = sdpa_attention_forward(
            module, query_RHLD, key_RHLD, value_RHLD, mask, dropout=dropout, scaling=scaling, is_causal=whole
        )
        return out, None
    from torch.nn.attention.varlen import varlen_attn  # of torch 2.10 and later; nothing on a CPU asks for it

    rows, heads, length, width = query_RHLD.shape
    query, key, value = (t.transpose(1, 2).reshape(-1, heads, width) for t in (query_RHLD, key_RHLD, value_RHLD))
    ends = segments.ends_P
    further: dict[str, Any] = {} if scaling in (None, width**-0.5) else {"scale": scaling}
    if causal or window is not None:
        further["window_size"] = (-1, 0) if causal else (window, window)
    # The block's length for the longest piece's: a number that changed would have compiled code made anew.
    found = varlen_attn(query, key, value, ends, ends, length, length, **further)
    assert isinstance(found, Tensor), "a pair comes only where one is asked for"
    return found.view(rows, length, heads, width), None


AttentionInterface.register(PIECES, attend)
