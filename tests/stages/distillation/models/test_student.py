"""A student of the teacher's own depth is the teacher; which blocks are chosen; what is refused."""

import pytest
import torch
from tiny import VOCAB, tiny_batch, tiny_bert
from transformers import AlbertConfig, BertConfig, DebertaV2Config, GPT2Config, LlamaConfig, RobertaConfig, T5Config

from stages.distillation.families.bert import student_config
from stages.distillation.families.table import accept
from stages.distillation.models.layers import choose_layers, spread
from stages.distillation.models.parts import decoder, encode, head_input, parameter_count
from stages.distillation.models.student import take_blocks
from stages.errors import ConfigError, InputError


@pytest.mark.parametrize("activation", ["gelu", "relu", "gelu_new"])
@pytest.mark.parametrize("tied", [True, False])
def test_take_blocks_all_of_them_computes_what_the_teacher_does(activation: str, tied: bool) -> None:
    teacher = tiny_bert(layers=3, hidden_act=activation, tie_word_embeddings=tied)
    student = take_blocks(teacher, (0, 1, 2)).eval()
    ids = tiny_batch().input_ids_RL
    with torch.no_grad():
        expected = teacher(ids, output_hidden_states=True)
        found = student(ids, output_hidden_states=True)
    assert expected.logits.abs().max() > 1
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_take_blocks_is_a_teacher_without_the_blocks_between() -> None:
    teacher = tiny_bert(layers=5)
    student = take_blocks(teacher, (0, 3)).eval()
    teacher.bert.encoder.layer = torch.nn.ModuleList([teacher.bert.encoder.layer[i] for i in (0, 3)])
    ids = tiny_batch().input_ids_RL
    with torch.no_grad():
        torch.testing.assert_close(student(ids).logits, teacher(ids).logits, rtol=1e-5, atol=1e-5)


def test_take_blocks_is_a_copy_in_fp32_and_tied_as_the_teacher_is() -> None:
    teacher = tiny_bert().to(torch.bfloat16)
    student = take_blocks(teacher, (0,))
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert decoder(student).weight is student.distilbert.embeddings.word_embeddings.weight
    before = teacher.bert.embeddings.word_embeddings.weight.clone()
    with torch.no_grad():
        student.distilbert.embeddings.word_embeddings.weight.add_(1)
    assert torch.equal(teacher.bert.embeddings.word_embeddings.weight, before)
    untied = take_blocks(tiny_bert(tie_word_embeddings=False), (0,))
    assert decoder(untied).weight is not untied.distilbert.embeddings.word_embeddings.weight


def test_take_blocks_dropout_is_the_students_own() -> None:
    student = take_blocks(tiny_bert(hidden_dropout_prob=0.3), (0,), dropout=0.2)
    assert {m.p for m in student.modules() if isinstance(m, torch.nn.Dropout)} == {0.2}


def test_student_config_widths_heads_activation_pad_and_tying_follow_the_teacher() -> None:
    teacher = tiny_bert(hidden_act="relu", pad_token_id=3, tie_word_embeddings=False).config
    made = student_config(teacher, 1, 0.1)
    assert (made.dim, made.hidden_dim, made.n_heads, made.n_layers, made.vocab_size) == (24, 40, 2, 1, VOCAB)
    assert (made.activation, made.pad_token_id, made.tie_word_embeddings) == ("relu", 3, False)
    assert made.max_position_embeddings == teacher.max_position_embeddings
    assert not made.sinusoidal_pos_embds


def test_anatomy_head_after_body_is_the_models_own_forward() -> None:
    teacher = tiny_bert()
    for model in (teacher, take_blocks(teacher, (0, 1)).eval()):
        ids = tiny_batch().input_ids_RL
        with torch.no_grad():
            split = decoder(model)(head_input(model, encode(model, ids)))
            torch.testing.assert_close(split, model(ids).logits, rtol=1e-6, atol=1e-6)


def test_parameter_count_counts_tied_weights_once() -> None:
    tied, untied = tiny_bert(), tiny_bert(tie_word_embeddings=False)
    assert parameter_count(untied) - parameter_count(tied) >= VOCAB * 24
    assert parameter_count(tied) == sum({p.data_ptr(): p.numel() for p in tied.parameters()}.values())


@pytest.mark.parametrize(
    ("choice", "depth", "expected"),
    [
        ("alternate", 12, (0, 2, 4, 6, 8, 10)),
        ("alternate", 4, (0, 2)),
        ("alternate", 5, (0, 2)),
        ("alternate", 1, (0,)),
        ("released", 12, (0, 2, 4, 7, 9, 11)),
        (1, 12, (0,)),
        (2, 12, (0, 11)),
        (4, 12, (0, 4, 7, 11)),
        (12, 12, tuple(range(12))),
        ((3, 1, 1), 4, (3, 1, 1)),
    ],
)
def test_choose_layers_follows_its_rule(choice: object, depth: int, expected: tuple[int, ...]) -> None:
    assert choose_layers(choice, depth) == expected


def test_spread_any_number_is_distinct_rising_and_holds_both_ends() -> None:
    for depth in range(2, 49):
        for number in range(2, depth + 1):
            found = spread(number, depth)
            assert list(found) == sorted(set(found))
            assert (len(found), found[0], found[-1]) == (number, 0, depth - 1)


@pytest.mark.parametrize(
    ("choice", "depth", "names"),
    [
        ("released", 4, "12 blocks"),
        (5, 4, "between 1 and the teacher's 4"),
        (0, 4, "between 1 and"),
        (-1, 4, "between 1 and"),
        ((), 4, "between 1 and"),
        ((0, 4), 4, "from 0 to 3"),
        ((-1, 0), 4, "from 0 to 3"),
        ("half", 4, "alternate"),
    ],
)
def test_choose_layers_impossible_choice_is_refused_naming_field_value_and_rule(
    choice: object, depth: int, names: str
) -> None:
    with pytest.raises(ConfigError, match=names) as refused:
        choose_layers(choice, depth)
    assert refused.value.field == "distil.layers"
    assert repr(choice) in str(refused.value)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (BertConfig(is_decoder=True), "decoder"),
        (BertConfig(add_cross_attention=True), "decoder"),
        (BertConfig(position_embedding_type="relative_key"), "relative_key"),
        (RobertaConfig(is_decoder=True), "decoder"),
        (GPT2Config(scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx"),
        (GPT2Config(add_cross_attention=True), "add_cross_attention"),
        (AlbertConfig(), "one block does the work"),
        (DebertaV2Config(), "XLM-R is the nearest"),
        (T5Config(), "an encoder and a decoder"),
        (LlamaConfig(), "type llama, which cannot be distilled: can be distilled are BERT, "),
    ],
)
def test_accept_what_no_student_can_be_made_of_is_refused_with_the_reason(config: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        accept(config)
