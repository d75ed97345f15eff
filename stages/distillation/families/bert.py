"""BERT, whose students are DistilBERTs (DistilBERT, section 3), or BERTs where DistilBERT's class cannot express them.

A DistilBERT has no token-type embeddings, no pooler and no next-sentence head. Row 0 of the teacher's token-type table,
which the teacher adds at every position of a single segment, is added into the student's position table: so the
student's embeddings are exactly the teacher's, and a student of the teacher's own depth computes what the teacher does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, DistilBertConfig, DistilBertForMaskedLM

from stages.distillation.data.segments import Segments
from stages.distillation.families.family import Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.embeddings import embedded
from stages.errors import InputError

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
"""Fields of the config of BERT and of those made like it."""


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """The blocks are called, not the whole body: compiled, that would make a mask of nothing but ones, and torch's
    fastest attention takes none."""
    into = embedded(model.bert.embeddings, words_RLE, segments)
    return model.bert.encoder(into, attention_mask(model, into, segments)).last_hidden_state


def head_input(model: Any, hidden_ND: Tensor) -> Tensor:
    """The head's dense layer, activation and LayerNorm."""
    return model.cls.predictions.transform(hidden_ND)


def check_encoder(config: Any) -> None:
    """Refuses what transformers' class of this kind of encoder does not compute, or does as a decoder."""
    if config.is_decoder or config.add_cross_attention:
        raise InputError("the teacher is a decoder of an encoder's class; choose one with is_decoder false or a GPT-2.")
    positions = getattr(config, "position_embedding_type", "absolute")
    if positions != "absolute":
        raise InputError(
            f"the teacher's positions are {positions}, which transformers has given up; choose one with absolute ones."
        )


def is_distilbert(config: Any) -> bool:
    """Whether DistilBERT's class, which fixes LayerNorm's eps at 1e-12, computes what this BERT does."""
    return config.layer_norm_eps == 1e-12


def student_config(teacher: BertConfig, layers: int, dropout: float) -> DistilBertConfig:
    """DistilBERT's config with `layers` blocks and the teacher's widths, heads, activation, pad id and tying."""
    return DistilBertConfig(
        vocab_size=teacher.vocab_size,
        max_position_embeddings=teacher.max_position_embeddings,
        sinusoidal_pos_embds=False,
        n_layers=layers,
        n_heads=teacher.num_attention_heads,
        dim=teacher.hidden_size,
        hidden_dim=teacher.intermediate_size,
        dropout=dropout,
        attention_dropout=dropout,
        activation=teacher.hidden_act,
        initializer_range=teacher.initializer_range,
        pad_token_id=teacher.pad_token_id,
        tie_word_embeddings=teacher.tie_word_embeddings,
    )


@torch.no_grad()
def distilbert_of(teacher: Any, layers: Sequence[int], dropout: float) -> DistilBertForMaskedLM | None:
    """A DistilBERT made of the teacher's embeddings, its blocks `layers` and its whole head; a copy, in fp32."""
    if not is_distilbert(teacher.config):
        return None
    student = DistilBertForMaskedLM(student_config(teacher.config, len(layers), dropout))
    source, target = teacher.bert.embeddings, student.distilbert.embeddings
    _copy(source.word_embeddings, target.word_embeddings)
    _copy(source.LayerNorm, target.LayerNorm)
    folded = source.position_embeddings.weight.float() + source.token_type_embeddings.weight[0].float()
    target.position_embeddings.weight.copy_(folded)
    for index, block in zip(layers, student.distilbert.transformer.layer, strict=True):
        _copy_block(teacher.bert.encoder.layer[index], block)
    head = teacher.cls.predictions
    _copy(head.transform.dense, student.vocab_transform)
    _copy(head.transform.LayerNorm, student.vocab_layer_norm)
    student.vocab_projector.weight.copy_(head.decoder.weight)
    student.vocab_projector.bias.copy_(head.decoder.bias)
    return student


@torch.no_grad()
def unfold(teacher: Any, student: DistilBertForMaskedLM) -> None:
    """Give a DistilBERT the teacher's positions as they are, without row 0 of its token types."""
    _copy(teacher.bert.embeddings.position_embeddings, student.distilbert.embeddings.position_embeddings)


def _copy_block(source: Any, target: Any) -> None:
    attention, mine = source.attention, target.attention
    _copy(attention.self.query, mine.q_lin)
    _copy(attention.self.key, mine.k_lin)
    _copy(attention.self.value, mine.v_lin)
    _copy(attention.output.dense, mine.out_lin)
    _copy(attention.output.LayerNorm, target.sa_layer_norm)
    _copy(source.intermediate.dense, target.ffn.lin1)
    _copy(source.output.dense, target.ffn.lin2)
    _copy(source.output.LayerNorm, target.output_layer_norm)


def _copy(source: nn.Module, target: nn.Module) -> None:
    target.load_state_dict(source.state_dict())


BERT = Family(
    names={"bert": "BERT"},
    blocks="bert.encoder.layer",
    encode=encode,
    head_input=head_input,
    dropouts=DROPOUTS,
    smaller=distilbert_of,
    folds=is_distilbert,
    unfold=unfold,
    check=check_encoder,
    activation=("intermediate.dense", "intermediate.intermediate_act_fn"),
    compiled=lambda model: [model.bert.encoder],
)
