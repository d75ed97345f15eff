"""A student from a teacher: DistilBERT's architecture with some of the teacher's own blocks (DistilBERT, section 3).

The student has no token-type embeddings, no pooler and no next-sentence head. Row 0 of the teacher's token-type table,
which the teacher adds at every position of a single segment, is added into the student's position table: so the
student's embeddings are exactly the teacher's, and a student of the teacher's own depth computes what the teacher does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from stages.errors import InputError


def check_expressible(teacher: BertConfig) -> None:
    """Raise `InputError`, naming the reason, where DistilBERT's class cannot compute what this teacher does."""
    if teacher.model_type != "bert":
        raise InputError(
            f"teacher.model is a {teacher.model_type} but the recipe needs a BERT; choose a BERT masked-LM."
        )
    if teacher.layer_norm_eps != 1e-12:
        raise InputError(
            f"the teacher's layer_norm_eps is {teacher.layer_norm_eps} but DistilBERT fixes it at 1e-12; "
            "choose a teacher with 1e-12."
        )
    positions = getattr(teacher, "position_embedding_type", "absolute")
    if positions != "absolute":
        raise InputError(
            f"the teacher's positions are {positions} but DistilBERT's are absolute; choose another teacher."
        )
    if teacher.is_decoder or teacher.add_cross_attention:
        raise InputError(
            "the teacher is a decoder but DistilBERT is an encoder; choose a teacher with is_decoder false."
        )


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
def take_blocks(teacher: BertForMaskedLM, layers: Sequence[int], *, dropout: float = 0.1) -> DistilBertForMaskedLM:
    """A student made of the teacher's embeddings, its blocks `layers` and its whole masked-LM head; a copy, in fp32."""
    check_expressible(teacher.config)
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
