"""What a step gets by its number alone: its learning rate (linear warm-up, then linear decay to zero, as the original
trains) and the seed of its dropout."""

import math


def learning_rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """What the peak learning rate is multiplied by at optimiser step `step` (from 0) of `steps`.

    Warm-up lasts ceil(`warmup` · `steps`) steps. The first step is above 0 and the last one is too, so that none is
    spent without learning.
    """
    rising = math.ceil(warmup * steps)
    return (step + 1) / (rising + 1) if step < rising else (steps - step) / (steps - rising)


def dropout_seed(seed: int, step: int, rank: int) -> int:
    """The seed of a step's dropout: a function of where training stands, so that no generator need be saved."""
    return ((seed * 1_000_003 + step) * 65_537 + rank) % 2**63  # torch takes no more bits
