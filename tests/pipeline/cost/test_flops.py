"""Operations beside torch's own counter, watching a plain model compute."""

import pytest
import torch
from tiny_families import CONFIGS, LAYERS, tiny_model
from torch.utils.flop_counter import FlopCounterMode

from pipeline.cost.flops import block_flops, forward_of
from stages.distillation.families.table import family_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.student import take_blocks

LENGTH = 16


def counted(model: torch.nn.Module, length: int = LENGTH) -> float:
    """What torch sees multiplied in a forward pass over one block, with the head at every position."""
    model.set_attn_implementation("eager")  # type: ignore[operator]
    with torch.no_grad(), FlopCounterMode(display=False) as seen:
        model(torch.full((1, length), 5))
    return float(seen.get_total_flops())


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_of_a_model_is_what_torch_counts(name: str) -> None:
    model = tiny_model(name)
    for length in (LENGTH, 8):
        assert forward_of(model.config).over(length, length) == counted(model, length)


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_of_some_blocks_is_the_student_s_that_is_made_of_them(name: str) -> None:
    teacher = tiny_model(name)
    layers = family_of(teacher.config).choose(LAYERS // 2, teacher.config)
    student = take_blocks(teacher, layers, dropout=0.0)
    assert forward_of(teacher.config, layers).over(LENGTH, LENGTH) == counted(student)


@pytest.mark.parametrize(
    ("weights", "teachers_heads", "students_heads"),
    [
        (LossWeights(), LENGTH, LENGTH),
        (LossWeights(ce_positions="masked"), 3, 3),
        (LossWeights(alpha_ce=0.0), 0, 3),
        (LossWeights(alpha_ce=0.0, alpha_cos=0.0), None, 3),
    ],
)
def test_block_learned_from_costs_three_passes_of_the_student_and_what_of_the_teacher_is_asked_for(
    weights: LossWeights, teachers_heads: int | None, students_heads: int
) -> None:
    teacher = forward_of(CONFIGS["bert"])
    student = forward_of(CONFIGS["bert"], (0, 2))
    expected = 3 * (LENGTH * (student.body + student.attention * LENGTH) + students_heads * student.head)
    if teachers_heads is not None:
        expected += LENGTH * (teacher.body + teacher.attention * LENGTH) + teachers_heads * teacher.head
    assert block_flops(student, teacher, weights, LENGTH, asked=3) == expected
