"""The learning rate beside transformers' own schedule."""

import itertools

import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from stages.distillation.schedule import learning_rate_factor


def transformers_factors(steps: int, rising: int) -> list[float]:
    """The factor that `get_linear_schedule_with_warmup` applies at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_linear_schedule_with_warmup(optimizer, rising, steps)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(("steps", "warmup", "rising"), [(100, 0.05, 5), (37, 0.1, 4), (8, 0.0, 0), (10, 0.95, 10)])
def test_learning_rate_factor_is_transformers_but_for_half_a_step_more_in_warmup(
    steps: int, warmup: float, rising: int
) -> None:
    """Decay is the same to the last digit; warm-up is (s + 1) / (rising + 1), where transformers starts at 0."""
    ours = [learning_rate_factor(step, steps=steps, warmup=warmup) for step in range(steps)]
    theirs = transformers_factors(steps, rising)
    assert ours[rising:] == pytest.approx(theirs[rising:], abs=1e-12)
    shifted = [(step * rising + rising) / (rising * (rising + 1)) for step in range(rising)]
    assert ours[:rising] == pytest.approx(shifted)
    assert all(0 <= mine - other <= 1 / (rising + 1) for mine, other in zip(ours, theirs, strict=True))


def test_learning_rate_factor_rises_to_one_then_falls_and_is_never_zero() -> None:
    found = [learning_rate_factor(step, steps=200, warmup=0.05) for step in range(200)]
    assert max(found) == found[10] == 1.0
    assert all(a < b for a, b in itertools.pairwise(found[:11]))
    assert all(a > b for a, b in itertools.pairwise(found[10:]))
    assert found[0] == pytest.approx(1 / 11)
    assert found[-1] == pytest.approx(1 / 190)


def test_learning_rate_factor_single_step_is_the_peak() -> None:
    assert learning_rate_factor(0, steps=1, warmup=0.0) == 1.0
