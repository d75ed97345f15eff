"""MPNet: a student is an MPNet. Beside its table of positions it has a bias by distance, alike within every piece."""

from typing import Any

from torch import Tensor
from torch.nn.functional import gelu

from stages.distillation.data.segments import Segments
from stages.distillation.families.bert import DROPOUTS
from stages.distillation.families.family import Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.embeddings import embedded

FIRST = 2
"""The row of the position table for a text's first token: behind padding's, whatever the config says of that."""


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """As BERT's; its attention is plain products on any device."""
    body = model.mpnet
    into = embedded(body.embeddings, words_RLE, segments, first=FIRST)
    return body.encoder(into, attention_mask(model, into, segments, plain=True), return_dict=True).last_hidden_state


def head_input(model: Any, hidden_ND: Tensor) -> Tensor:
    """The head's dense layer, GELU and LayerNorm."""
    return model.lm_head.layer_norm(gelu(model.lm_head.dense(hidden_ND)))


MPNET = Family(
    names={"mpnet": "MPNet"},
    blocks="mpnet.encoder.layer",
    encode=encode,
    head_input=head_input,
    dropouts=DROPOUTS,
    positions=lambda config: config.max_position_embeddings - FIRST,
    activation=("intermediate.dense", "intermediate.intermediate_act_fn"),
)
