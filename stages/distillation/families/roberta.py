"""RoBERTa and those of its making, XLM-R and CamemBERT: a student is of its teacher's class, as DistilRoBERTa is.

Their positions begin behind the padding's row: a table of 514 reads 512 tokens.
"""

from typing import Any

from torch import Tensor
from torch.nn.functional import gelu

from stages.distillation.data.segments import Segments
from stages.distillation.families.bert import DROPOUTS, check_encoder
from stages.distillation.families.family import Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.embeddings import embedded
from stages.errors import InputError


def first_position(config: Any) -> int:
    """The row of the position table for a text's first token."""
    return config.pad_token_id + 1


def check(config: Any) -> None:
    """As BERT's, and padding must have an id, behind whose row positions begin."""
    check_encoder(config)
    if config.pad_token_id is None:
        raise InputError(
            "the teacher's config.json has no pad_token_id, behind which its positions begin; put it there."
        )


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """As BERT's."""
    body = model.roberta
    into = embedded(body.embeddings, words_RLE, segments, first=first_position(model.config))
    return body.encoder(into, attention_mask(model, into, segments)).last_hidden_state


def head_input(model: Any, hidden_ND: Tensor) -> Tensor:
    """The head's dense layer, GELU whatever the blocks have, and LayerNorm."""
    head = model.lm_head
    return head.layer_norm(gelu(head.dense(hidden_ND)))


ROBERTA = Family(
    names={"roberta": "RoBERTa", "xlm-roberta": "XLM-R", "camembert": "CamemBERT"},
    blocks="roberta.encoder.layer",
    encode=encode,
    head_input=head_input,
    dropouts=DROPOUTS,
    check=check,
    positions=lambda config: config.max_position_embeddings - first_position(config),
    activation=("intermediate.dense", "intermediate.intermediate_act_fn"),
    compiled=lambda model: [model.roberta.encoder],
)
