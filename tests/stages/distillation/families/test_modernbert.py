"""ModernBERT's rhythm of blocks that look far and near."""

import json
from pathlib import Path

import pytest
import torch
from tiny_families import tiny_model
from transformers import AutoModelForMaskedLM, ModernBertConfig

from stages.distillation.families.modernbert import choose
from stages.distillation.models.student import take_blocks
from stages.errors import ConfigError


@pytest.mark.parametrize("depth", [3, 4, 7, 12, 22, 28])
def test_any_number_of_blocks_keeps_the_rhythm(depth: int) -> None:
    config = ModernBertConfig(num_hidden_layers=depth)
    for choice in ("alternate", *range(1, depth + 1)):
        chosen = choose(choice, config)  # type: ignore[arg-type]
        assert chosen[0] == 0
        assert list(chosen) == sorted(set(chosen))
        assert [config.layer_types[i] for i in chosen] == config.layer_types[: len(chosen)]
    assert choose(depth, config) == tuple(range(depth))


def test_half_of_the_base_model_is_every_other_block() -> None:
    assert choose("alternate", ModernBertConfig(num_hidden_layers=22)) == tuple(range(0, 22, 2))


@pytest.mark.parametrize("choice", [(0, 1, 3), (1, 2, 4), (3, 4, 5)])
def test_a_list_that_breaks_the_rhythm_is_refused_with_one_that_keeps_it(choice: tuple[int, ...]) -> None:
    config = ModernBertConfig(num_hidden_layers=12)
    with pytest.raises(ConfigError, match=r"try 0,\d+,\d+"):
        choose(choice, config)
    assert choose((0, 4, 5, 9), config) == (0, 4, 5, 9)


def test_a_saved_student_has_the_rhythm_and_the_angles_of_its_teacher(tmp_path: Path) -> None:
    teacher = tiny_model("modernbert", rope_parameters={
        "full_attention": {"rope_theta": 160_000.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 25_000.0, "rope_type": "default"},
    })  # fmt: skip
    student = take_blocks(teacher, (0, 1)).eval()
    student.save_pretrained(tmp_path)
    again = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert again.config.rope_parameters == teacher.config.rope_parameters
    assert again.config.layer_types == ["full_attention", "sliding_attention"]
    said = json.loads((tmp_path / "config.json").read_text())
    assert (said["global_rope_theta"], said["local_rope_theta"]) == (160_000.0, 25_000.0), "what transformers 4 reads"
    ids = torch.arange(5, 17).unsqueeze(0)
    torch.testing.assert_close(again(input_ids=ids).logits, student(input_ids=ids).logits)
