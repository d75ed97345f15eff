"""A model's body, head and decoder, so that the step need not know of which family it is.

The head is split before its last product: `head_input` is cheap and left to autograd, the decoder's (tokens ×
vocabulary) product is the losses' business. Shapes: R rows, L length, D width, E width of a word's vector, N positions,
V vocabulary.
"""

from typing import Any

from torch import Tensor, nn

from stages.distillation.data.segments import Segments
from stages.distillation.families.family import LanguageModel
from stages.distillation.families.table import family_of


def encode(model: LanguageModel, input_ids_RL: Tensor, segments: Segments | None = None) -> Tensor:
    """The last hidden states (R, L, D), without the vocabulary head.

    With `segments` each piece of a block is read as if it stood alone: positions begin anew and attention stays within
    it. Without, a block is one line.
    """
    words: Any = model.get_input_embeddings()
    # A tied table's gradient is the decoder's, to which the few rows looked up here are added in place: as a dense
    # one of their own, almost all zeros, they would take the table's size once more. DDP sees the sum, which is dense.
    tied = decoder(model).weight is words.weight
    words_RLE = nn.functional.embedding(
        input_ids_RL, words.weight, words.padding_idx, sparse=tied and input_ids_RL.is_cpu
    )
    return family_of(model.config).encode(model, words_RLE, segments)


def head_input(model: LanguageModel, hidden_ND: Tensor) -> Tensor:
    """What the decoder multiplies, (N, E): what the head makes of hidden states (N, D) before its last product."""
    return family_of(model.config).head_input(model, hidden_ND)


def decoder(model: LanguageModel) -> Any:
    """The last layer of the head: weight (V, E), tied to the word embeddings as a rule, and bias (V,) or None."""
    return model.get_output_embeddings()


def parameter_count(model: nn.Module) -> int:
    """The number of parameters, tied weights counted once."""
    return sum(parameter.numel() for parameter in model.parameters())
