"""GPT-2, which predicts the next token: a student is a GPT-2, as DistilGPT2 is."""

from typing import Any

import torch
from torch import Tensor

from stages.distillation.data.segments import Segments
from stages.distillation.families.family import CAUSAL, Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.embeddings import positions_at
from stages.errors import InputError


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """Each position sees itself and what was before it."""
    body = model.transformer
    places_RL = torch.arange(words_RLE.shape[1], device=words_RLE.device).unsqueeze(0)
    places_RL = places_RL if segments is None else segments.places_RL
    hidden = body.drop(words_RLE + positions_at(body.wpe, places_RL))
    mask = attention_mask(model, hidden, segments, causal=True)
    for block in body.h:
        hidden = block(hidden, attention_mask=mask)
    return body.ln_f(hidden)


def check(config: Any) -> None:
    """Refuses what depends on a block's number, and what needs another model's states."""
    if config.scale_attn_by_inverse_layer_idx:
        raise InputError(
            "the teacher scales attention by a block's number (scale_attn_by_inverse_layer_idx), so that its blocks "
            "cannot be moved; choose a GPT-2 without."
        )
    if config.add_cross_attention:
        raise InputError("the teacher attends to another model (add_cross_attention); choose a GPT-2 without.")


GPT2 = Family(
    names={"gpt2": "GPT-2"},
    blocks="transformer.h",
    encode=encode,
    head_input=lambda model, hidden_ND: hidden_ND,
    dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    objective=CAUSAL,
    has_head=False,
    check=check,
)
