"""Where body, head and decoder are in BERT and in DistilBERT, so that the step need not know which it trains.

The head is split before its last product: `head_input` is cheap and left to autograd, the decoder's (tokens ×
vocabulary) product is the losses' business. Shapes: R rows, L length, D width, N positions, V vocabulary.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from transformers import BertForMaskedLM, DistilBertForMaskedLM

from stages.distillation.data.segments import Segments
from stages.distillation.models.piece_attention import PIECES

MaskedLM: TypeAlias = BertForMaskedLM | DistilBertForMaskedLM


def encode(model: MaskedLM, input_ids_RL: Tensor, segments: Segments | None = None) -> Tensor:
    """The last hidden states (R, L, D), without the vocabulary head.

    With `segments` each piece of a block is read as if it stood alone: positions begin anew and attention stays within
    it. Without, a block is one line, and there is no attention mask at all.
    """
    bert = isinstance(model, BertForMaskedLM)
    body = model.bert if bert else model.distilbert
    words = body.embeddings.word_embeddings
    # A tied table's gradient is the decoder's, to which the few rows looked up here are added in place: as a dense
    # one of their own, almost all zeros, they would take the table's size once more. DDP sees the sum, which is dense.
    tied = decoder(model).weight is words.weight
    embeds_RLD = nn.functional.embedding(
        input_ids_RL, words.weight, words.padding_idx, sparse=tied and input_ids_RL.is_cpu
    )
    # The blocks themselves, not the whole body: compiled, that would make a mask of nothing but ones, and torch's
    # fastest attention takes none.
    places = None if segments is None else segments.places_RL
    if bert:
        embedded, blocks = body.embeddings(inputs_embeds=embeds_RLD, position_ids=places), body.encoder
    else:
        embedded, blocks = body.embeddings(None, embeds_RLD, places), body.transformer
    return blocks(embedded, None if segments is None else _attention_mask(model, segments)).last_hidden_state


def _attention_mask(model: MaskedLM, segments: Segments) -> Tensor | Segments:
    """What the model's attention takes for a mask: (R, 1, L, L), numbers to add in plain products, truth in torch's
    fused one; the pieces themselves where it knows them."""
    if model.config._attn_implementation == PIECES:
        return segments
    if model.config._attn_implementation != "eager":
        return segments.together_R1LL()
    kind = segments.numbers_RL.device.type
    return segments.added_R1LL(torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype)


def head_input(model: MaskedLM, hidden_ND: Tensor) -> Tensor:
    """What the decoder multiplies: the head's dense layer, activation and LayerNorm over hidden states (N, D)."""
    if isinstance(model, BertForMaskedLM):
        return model.cls.predictions.transform(hidden_ND)
    return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden_ND)))


def decoder(model: MaskedLM) -> nn.Linear:
    """The last layer of the head: weight (V, D), tied to the word embeddings as a rule, and bias (V,)."""
    return model.cls.predictions.decoder if isinstance(model, BertForMaskedLM) else model.vocab_projector


def parameter_count(model: nn.Module) -> int:
    """The number of parameters, tied weights counted once."""
    return sum(parameter.numel() for parameter in model.parameters())
