"""The learning rate over a run: linear warm-up, then linear decay to zero, as the original trains."""

import math


def learning_rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """What the peak learning rate is multiplied by at optimiser step `step` (from 0) of `steps`.

    Warm-up lasts ceil(`warmup` · `steps`) steps. The first step is above 0 and the last one is too, so that none is
    spent without learning.
    """
    rising = math.ceil(warmup * steps)
    return (step + 1) / (rising + 1) if step < rising else (steps - step) / (steps - rising)
