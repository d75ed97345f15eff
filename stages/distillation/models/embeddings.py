"""What enters the first block where positions are a table: a word's vector and its position's, normalised.

Shapes: R rows, L length, E width of a word's vector.
"""

from typing import Any

from torch import Tensor, nn

from stages.distillation.data.segments import Segments


def positions_at(table: nn.Embedding, places_RL: Tensor) -> Tensor:
    """Rows of a position table, (R, L, E).

    Indexed, not looked up, on a GPU: a lookup's gradient is added up there in another order each time, an index's
    never.
    """
    return table.weight[places_RL] if table.weight.is_cuda else nn.functional.embedding(places_RL, table.weight)


def embedded(own: Any, words_RLE: Tensor, segments: Segments | None, *, first: int = 0) -> Tensor:
    """What a class's own embeddings (BERT's and those made like it) make of words: by themselves of a line; where there
    are `segments` with positions that begin anew in each piece, in the same order. `first` is the row of the table for
    the first position."""
    if segments is None:
        return own(None, inputs_embeds=words_RLE)
    if hasattr(own, "token_type_embeddings"):
        words_RLE = words_RLE + own.token_type_embeddings.weight[0]
    places_RL = segments.places_RL + first if first else segments.places_RL
    return own.dropout(own.LayerNorm(words_RLE + positions_at(own.position_embeddings, places_RL)))
