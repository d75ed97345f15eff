"""DistilBERT, whose students are DistilBERTs."""

from typing import Any

from torch import Tensor

from stages.distillation.data.segments import Segments
from stages.distillation.families.family import Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.embeddings import embedded


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """As BERT's."""
    into = embedded(model.distilbert.embeddings, words_RLE, segments)
    return model.distilbert.transformer(into, attention_mask(model, into, segments)).last_hidden_state


def head_input(model: Any, hidden_ND: Tensor) -> Tensor:
    """The head's dense layer, activation and LayerNorm."""
    return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden_ND)))


DISTILBERT = Family(
    names={"distilbert": "DistilBERT"},
    blocks="distilbert.transformer.layer",
    encode=encode,
    head_input=head_input,
    dropouts=("dropout", "attention_dropout"),
    activation=("ffn.lin1", "ffn.activation"),
    compiled=lambda model: [model.distilbert.transformer],
)
