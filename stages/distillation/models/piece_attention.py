"""Attention within the pieces of packed blocks, on a GPU: only what is looked at is computed.

FlashAttention takes the pieces of all rows laid end to end and where each ends; a mask over whole blocks would have it
compute, and throw away, what lies between pieces. transformers calls it by the name `PIECES`, as it calls its own.
Where it cannot be (fp32, dropout, another device) torch's fused attention takes a mask, and gives the same.

Shapes: R rows, H heads, L length, D width of a head.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from stages.distillation.data.segments import Segments

PIECES = "distilray_pieces"


def attend(
    module: nn.Module,
    query_RHLD: Tensor,
    key_RHLD: Tensor,
    value_RHLD: Tensor,
    segments: Segments | Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """(R, L, H, D), as transformers' own attention functions; `segments` comes where they get a mask, and a mask where
    the whole model is called."""
    half = query_RHLD.dtype in (torch.float16, torch.bfloat16)
    if not isinstance(segments, Segments) or not query_RHLD.is_cuda or not half or dropout > 0:
        mask = segments.together_R1LL() if isinstance(segments, Segments) else segments
        out, _ = sdpa_attention_forward(
            module, query_RHLD, key_RHLD, value_RHLD, mask, dropout=dropout, scaling=scaling, is_causal=False
        )
        return out, None
    from torch.nn.attention.varlen import varlen_attn  # of torch 2.10 and later; nothing on a CPU asks for it

    rows, heads, length, width = query_RHLD.shape
    query, key, value = (t.transpose(1, 2).reshape(-1, heads, width) for t in (query_RHLD, key_RHLD, value_RHLD))
    ends = segments.ends_P
    # The block's length for the longest piece's: a number that changed would have compiled code made anew.
    found = varlen_attn(query, key, value, ends, ends, length, length)
    assert isinstance(found, Tensor), "a pair comes only where one is asked for"
    return found.view(rows, length, heads, width), None


AttentionInterface.register(PIECES, attend)
