"""DistilBERT, whose students are DistilBERTs."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stages.distillation.data.segments import Segments
from stages.distillation.families.family import Family, LanguageModel, StudentClass
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.copies import same_class
from stages.distillation.models.embeddings import embedded

BLOCKS = "distilbert.transformer.layer"


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """As BERT's."""
    own = model.distilbert.embeddings
    into = own(None, words_RLE) if segments is None else embedded(own, words_RLE, segments)
    return model.distilbert.transformer(into, attention_mask(model, into, segments)).last_hidden_state


def head_input(model: Any, hidden_ND: Tensor) -> Tensor:
    """The head's dense layer, activation and LayerNorm."""
    return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden_ND)))


def student(teacher: Any, layers: Sequence[int], dropout: float, kind: StudentClass) -> LanguageModel:
    """A DistilBERT of fewer blocks."""
    return same_class(teacher, layers, blocks=BLOCKS, dropout=dropout, dropouts=("dropout", "attention_dropout"))


DISTILBERT = Family(
    names={"distilbert": "DistilBERT"},
    blocks=BLOCKS,
    encode=encode,
    head_input=head_input,
    student=student,
    activation=("ffn.lin1", "ffn.activation"),
    compiled=lambda model: [model.distilbert.transformer],
)
