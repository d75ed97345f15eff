"""A student that starts without something of its teacher: what is another, what is the same, and what is refused."""

from pathlib import Path

import pytest
import torch
from tiny import tiny_batch, tiny_bert
from tiny_families import CONFIGS, LAYERS, tiny_model
from transformers import AutoModelForMaskedLM, DistilBertForMaskedLM

from stages.distillation.families.table import family_of
from stages.distillation.models.starts import initialised
from stages.distillation.models.student import take_blocks
from stages.errors import ConfigError


@pytest.mark.parametrize("name", CONFIGS)
def test_random_start_is_what_transformers_draws_for_the_class_with_that_seed(name: str) -> None:
    teacher = tiny_model(name)
    layers = family_of(teacher.config).choose(2, teacher.config)
    student = take_blocks(teacher, layers, dropout=0.3, start="random", seed=5)
    taught = take_blocks(teacher, layers, dropout=0.3)
    before = torch.get_rng_state()
    assert torch.equal(initialised(taught, 5).get_input_embeddings().weight, student.get_input_embeddings().weight)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = type(taught)(taught.config).state_dict()
    assert student.config.to_dict() == taught.config.to_dict()
    assert student.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[key]) for key, weight in student.state_dict().items())
    other = take_blocks(teacher, layers, start="random", seed=6).get_input_embeddings().weight
    assert not torch.equal(other, student.get_input_embeddings().weight)
    assert not torch.equal(other, taught.get_input_embeddings().weight)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "gpt2"])
def test_random_head_is_a_body_of_the_teachers_under_a_head_that_is_not(name: str) -> None:
    teacher = tiny_model(name)
    student = take_blocks(teacher, range(LAYERS), start="random_head", seed=5)
    taught = take_blocks(teacher, range(LAYERS))
    drawn = take_blocks(teacher, range(LAYERS), start="random", seed=5).state_dict()
    body = {f"{taught.base_model_prefix}.{key}" for key in taught.base_model.state_dict()}
    tied = {key for key, weight in taught.state_dict().items() if weight.data_ptr() in _places(taught.base_model)}
    for key, weight in student.state_dict().items():
        expected = taught.state_dict()[key] if key in body | tied else drawn[key]
        assert torch.equal(weight, expected), key
    assert set(student.state_dict()) - body - tied, "there is a head"
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight


def _places(model: torch.nn.Module) -> set[int]:
    return {parameter.data_ptr() for parameter in model.parameters()}


def test_random_head_of_a_teacher_that_ties_nothing_has_a_decoder_of_its_own() -> None:
    teacher = tiny_bert(tie_word_embeddings=False)
    student = take_blocks(teacher, (0, 1), start="random_head")
    assert not torch.equal(student.get_output_embeddings().weight, teacher.get_output_embeddings().weight)
    assert torch.equal(student.get_input_embeddings().weight, teacher.get_input_embeddings().weight)


def test_unfolded_computes_what_the_teacher_does_with_a_token_type_table_of_zeros() -> None:
    teacher = tiny_bert(layers=3)
    student = take_blocks(teacher, (0, 1, 2), start="unfolded").eval()
    assert isinstance(student, DistilBertForMaskedLM)
    with torch.no_grad():
        teacher.bert.embeddings.token_type_embeddings.weight.zero_()
        ids = tiny_batch().input_ids_RL
        torch.testing.assert_close(student(ids).logits, teacher(ids).logits, rtol=1e-5, atol=1e-5)


def test_start_survives_saving_and_loading(tmp_path: Path) -> None:
    student = take_blocks(tiny_bert(), (0, 1), start="random", seed=3).eval()
    student.save_pretrained(tmp_path)
    ids = tiny_batch().input_ids_RL
    with torch.no_grad():
        assert torch.equal(AutoModelForMaskedLM.from_pretrained(tmp_path).eval()(ids).logits, student(ids).logits)


@pytest.mark.parametrize("name", ["roberta", "bert that DistilBERT cannot express", "gpt2", "distilbert"])
def test_unfolded_is_refused_where_no_token_types_are_folded(name: str) -> None:
    with pytest.raises(ConfigError, match=r"distil.start is 'unfolded' but is for a BERT's student that is a DistilB"):
        take_blocks(tiny_model(name), (0,), start="unfolded")
    with pytest.raises(ConfigError, match=r"distil.start is 'unfolded'"):
        take_blocks(tiny_bert(), (0,), kind="same", start="unfolded")


def test_random_head_of_a_gpt2_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves nothing out: the head of this GPT-2 is its embeddings"):
        take_blocks(tiny_model("gpt2"), (0,), start="random_head")
