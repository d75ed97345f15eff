"""What of the teacher a student starts from, and which blocks: names and arithmetic, which a config may import."""

from typing import Literal

from stages.errors import ConfigError

Layers = Literal["alternate", "released"] | int | tuple[int, ...]
Start = Literal["teacher", "random", "random_head", "unfolded"]
"""teacher: blocks, embeddings and head are the teacher's. To ask what that is worth, random: no weight is (DistilBERT,
table 4); random_head: the head's own weights are not, the decoder is where it is tied to the embeddings; unfolded: a
DistilBERT's positions are the BERT's own, without row 0 of its token types."""
RELEASED = (0, 2, 4, 7, 9, 11)
"""The teacher blocks in the released distilbert-base checkpoints (extract_distilbert.py)."""


def choose_layers(choice: Layers, teacher_layers: int) -> tuple[int, ...]:
    """Which teacher blocks the student starts from, bottom first.

    "alternate" is the paper's one of two (0, 2, 4, …), "released" that of the published checkpoints (12 blocks only),
    a number that many spread evenly from the first to the last, and a tuple is taken as it is. Raises `ConfigError`.
    """
    if choice == "alternate":
        return tuple(range(0, teacher_layers - teacher_layers % 2, 2)) or (0,)
    if choice == "released":
        if teacher_layers != 12:
            raise ConfigError(
                "distil.layers", choice, f'needs a teacher of 12 blocks and this has {teacher_layers}; try "alternate"'
            )
        return RELEASED
    if isinstance(choice, str):
        raise ConfigError("distil.layers", choice, 'must be "alternate", "released", a number or a list of blocks')
    chosen = spread(choice, teacher_layers) if isinstance(choice, int) else tuple(choice)
    if not 0 < len(chosen) <= teacher_layers:
        rule = f"must be between 1 and the teacher's {teacher_layers} blocks"
        raise ConfigError("distil.layers", choice, rule)
    if min(chosen) < 0 or max(chosen) >= teacher_layers:
        rule = f"must name blocks from 0 to {teacher_layers - 1}: the teacher has {teacher_layers}"
        raise ConfigError("distil.layers", choice, rule)
    return chosen


def spread(number: int, teacher_layers: int) -> tuple[int, ...]:
    """`number` blocks spread evenly, the first and the last among them (one alone is the first)."""
    step = (teacher_layers - 1) / max(1, number - 1)
    return tuple(round(index * step) for index in range(number))
