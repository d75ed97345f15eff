"""ELECTRA's generator, the half of the pair that predicts masked tokens: a student is a smaller generator.

Its word vectors may be narrower than its blocks: a product lies between them.
"""

from typing import Any

from torch import Tensor

from stages.distillation.data.segments import Segments
from stages.distillation.families.bert import DROPOUTS, check_encoder
from stages.distillation.families.family import Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.embeddings import embedded


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """As BERT's, with what makes a block's width of a word's between."""
    body = model.electra
    into = embedded(body.embeddings, words_RLE, segments)
    if hasattr(body, "embeddings_project"):
        into = body.embeddings_project(into)
    return body.encoder(into, attention_mask(model, into, segments)).last_hidden_state


ELECTRA = Family(
    names={"electra": "ELECTRA"},
    blocks="electra.encoder.layer",
    encode=encode,
    head_input=lambda model, hidden_ND: model.generator_predictions(hidden_ND),
    dropouts=DROPOUTS,
    check=check_encoder,
    activation=("intermediate.dense", "intermediate.intermediate_act_fn"),
    compiled=lambda model: [model.electra.encoder],
)
