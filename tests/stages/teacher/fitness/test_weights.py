"""A teacher whose files are not the model of its config: refused by name before anything runs, and never made up."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from saved_teacher import Tensors, edited, pickled, rewritten, saved
from tiny import LENGTH, VOCAB, tiny_bert
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, BertForPreTraining

from stages.context import StageContext
from stages.errors import InputError
from stages.storage import Folder
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.preflight import check
from stages.teacher.fitness.weight_files import shapes_in
from stages.teacher.fitness.weights import compare
from stages.teacher.source import DEMO
from stages.teacher.stage import fetch

IDS = torch.arange(5, 5 + LENGTH).unsqueeze(0)


def fetched(folder: Path, target: Path, adapt_steps: int = 0) -> tuple[BertForMaskedLM, list[str]]:
    """(the teacher that is put on storage, what a person was told)."""
    told: list[str] = []
    context = StageContext(folder=Folder(str(target)), seed=0, on_notice=told.append)
    made = fetch(TeacherConfig(model=str(folder), adapt_steps=adapt_steps), context)
    return AutoModelForMaskedLM.from_pretrained(made.folder.path).eval(), told


@torch.no_grad()
def logits(model: BertForMaskedLM) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


def fused(tensors: Tensors) -> Tensors:
    """Query, key and value of each block as one matrix, as some libraries save them."""
    parts = [f"attention.self.{part}.{kind}" for kind in ("weight", "bias") for part in ("query", "key", "value")]
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(tuple(parts))}
    for block in ("bert.encoder.layer.0", "bert.encoder.layer.1"):
        for kind, names in (("weight", parts[:3]), ("bias", parts[3:])):
            kept[f"{block}.attention.Wqkv.{kind}"] = torch.cat([tensors[f"{block}.{name}"] for name in names])
    return kept


def without(*names: str) -> Callable[[Path], object]:
    return lambda folder: rewritten(folder, lambda t: {k: v for k, v in t.items() if not re.search("|".join(names), k)})


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "attention weights under other names": (
        lambda f: rewritten(f, fused),
        r"lacks 12 of the weights .*bert\.encoder\.layer\.0\.attention\.self\.query\.weight, .* and 9 more",
    ),
    "a config with more blocks than the file": (
        lambda f: edited(f, num_hidden_layers=3),
        r"lacks 16 of the weights .*bert\.encoder\.layer\.2\.",
    ),
    "no position table": (
        without("position_embeddings"),
        r"lacks 1 .*\(bert\.embeddings\.position_embeddings\.weight\)",
    ),
    "no token types": (without("token_type"), r"lacks 1 .*\(bert\.embeddings\.token_type_embeddings\.weight\)"),
    "no word embeddings and none tied to them": (without("word_embeddings"), r"word_embeddings\.weight"),
    "half a head": (without("transform.dense"), r"lacks 2 .*cls\.predictions\.transform\.dense\.weight"),
    "no bias of the decoder": (without("cls.predictions.bias"), r"lacks 2 .*cls\.predictions\.bias"),
    "an untied decoder that is not there": (
        lambda f: edited(f, tie_word_embeddings=False),
        r"lacks 1 .*cls\.predictions\.decoder\.weight",
    ),
    "the prefix of another library": (
        lambda f: rewritten(f, lambda t: {f"module.{name}": tensor for name, tensor in t.items()}),
        "lacks 37 of the weights",
    ),
    "a smaller vocabulary": (
        lambda f: edited(f, vocab_size=VOCAB + 3),
        rf"word_embeddings\.weight is \({VOCAB}, 24\) and should be \({VOCAB + 3}, 24\)",
    ),
    "more positions": (
        lambda f: edited(f, max_position_embeddings=64),
        rf"position_embeddings\.weight is \({LENGTH + 4}, 24\) and should be \(64, 24\)",
    ),
    "another width within the blocks": (
        lambda f: edited(f, intermediate_size=48),
        r"intermediate\.dense\.weight is \(40, 24\) and should be \(48, 24\), and 5 more do not fit",
    ),
    "heads that do not divide the width": (
        lambda f: edited(f, num_attention_heads=5),
        "hidden_size 24 and 5 attention",
    ),
    "no heads": (lambda f: edited(f, num_attention_heads=0), "num_attention_heads 0, which must be above 0"),
    "an unknown activation": (lambda f: edited(f, hidden_act="gelu_of_mine"), "hidden_act 'gelu_of_mine'"),
    "a pad id beyond the vocabulary": (lambda f: edited(f, pad_token_id=VOCAB), f"pad_token_id {VOCAB}"),
    "a number in words": (lambda f: edited(f, num_hidden_layers="two"), "num_hidden_layers"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_teacher_that_would_be_partly_random_is_refused_by_name_before_anything_runs(case: str, tmp_path: Path) -> None:
    spoil, words = UNFIT[case]
    folder = saved(tmp_path / "teacher")
    check(TeacherConfig(model=str(folder)))
    spoil(folder)
    for adapt_steps in (0, 10):
        with pytest.raises(InputError, match=words) as refused:
            check(TeacherConfig(model=str(folder), adapt_steps=adapt_steps))
        assert "\n" not in str(refused.value)
        assert str(refused.value).endswith(".")


def old_names(tensors: Tensors) -> Tensors:
    """As TensorFlow's checkpoints were converted: gamma and beta, and a buffer of positions."""
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    return renamed | {"bert.embeddings.position_ids": torch.arange(LENGTH + 4).unsqueeze(0)}


def body_without_prefix(tensors: Tensors) -> Tensors:
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


def decoder_in_the_place_of_embeddings(tensors: Tensors) -> Tensors:
    words, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
    kept = {name: tensor for name, tensor in tensors.items() if name not in (words, bias)}
    return kept | {"cls.predictions.decoder.weight": tensors[words], "cls.predictions.decoder.bias": tensors[bias]}


def more_heads(tensors: Tensors) -> Tensors:
    more = {"bert.pooler.dense.weight": (24, 24), "bert.pooler.dense.bias": (24,)}
    more |= {"cls.seq_relationship.weight": (2, 24), "cls.seq_relationship.bias": (2,)}
    return tensors | {name: torch.zeros(shape) for name, shape in more.items()}


FINE: dict[str, Callable[[Path], object]] = {
    "as saved": lambda f: None,
    "gamma and beta": lambda f: rewritten(f, old_names),
    "no prefix": lambda f: rewritten(f, body_without_prefix),
    "the decoder saved and not the embeddings": lambda f: rewritten(f, decoder_in_the_place_of_embeddings),
    "pooler and next-sentence head": lambda f: rewritten(f, more_heads),
    "a class of its own": lambda f: edited(f, architectures=["OurBertForMLM"]),
    "the class of a body": lambda f: edited(f, architectures=["BertModel"]),
    "pickled": pickled,
    "pickled, in the old format": lambda f: pickled(f, legacy=True),
    "pickled shards": lambda f: pickled(f, 3),
    "shards": lambda f: (
        BertForMaskedLM.from_pretrained(f).save_pretrained(f, max_shard_size="8KB")
        or (f / "model.safetensors").unlink(missing_ok=True)
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_teacher_that_from_pretrained_loads_whole_is_taken_without_a_word(case: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher")
    FINE[case](folder)
    check(TeacherConfig(model=str(folder)))
    model, told = fetched(folder, tmp_path / "out")
    assert torch.equal(logits(model), logits(tiny_bert()))
    assert told == []


def test_model_saved_for_pretraining_and_the_demo_s_are_whole(tmp_path: Path) -> None:
    model = BertForPreTraining(tiny_bert().config)
    model.save_pretrained(tmp_path)
    for folder in (tmp_path, DEMO):
        fit = compare(shapes_in(folder), BertConfig.from_pretrained(folder))
        assert (fit.missing, fit.misfits, fit.surplus) == ((), (), ())
    assert check(TeacherConfig(model="demo")).num_hidden_layers == 4


def test_weights_that_no_bert_has_are_left_out_and_said(tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher", tiny_bert(layers=3))
    edited(folder, num_hidden_layers=2)
    _, told = fetched(folder, tmp_path / "out")
    assert len(told) == 1
    assert re.search(r"has 16 weights .* left out: bert\.encoder\.layer\.2\.\S+, .* and 13 more\.$", told[0])


@pytest.mark.parametrize("tied", [True, False])
def test_missing_head_is_drawn_tied_and_said_where_the_teacher_is_adapted(tied: bool, tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher")
    tiny_bert().bert.save_pretrained(folder)
    edited(folder, architectures=["BertModel"], tie_word_embeddings=tied)
    with pytest.raises(
        InputError, match=r"a BertModel, has no head that predicts tokens.* teacher\.adapt_steps above 0"
    ):
        check(TeacherConfig(model=str(folder)))
    check(TeacherConfig(model=str(folder), adapt_steps=5))
    (model, told), (again, _) = (fetched(folder, tmp_path / name, adapt_steps=5) for name in ("one", "two"))
    assert len(told) == 1
    assert "no head that predicts" in told[0]
    head = model.cls.predictions
    assert head.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert head.decoder.bias is head.bias
    assert model.config.tie_word_embeddings
    assert torch.equal(logits(model), logits(again))
    with torch.no_grad():
        assert torch.equal(model.bert(input_ids=IDS)[0], tiny_bert().bert(input_ids=IDS)[0])


def test_untied_decoder_saved_with_one_of_its_two_biases_keeps_it(tmp_path: Path) -> None:
    """Versions before 5 tied the two biases whatever the config said, and saved one."""
    model = tiny_bert(tie_word_embeddings=False)
    with torch.no_grad():
        model.cls.predictions.bias.copy_(model.cls.predictions.decoder.bias)
    folder = saved(tmp_path / "teacher", model)
    without("decoder.bias")(folder)
    check(TeacherConfig(model=str(folder)))
    found, told = fetched(folder, tmp_path / "out")
    assert torch.equal(logits(found), logits(model))
    assert told == []


def test_decoder_of_other_values_under_a_config_that_ties_it_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher")
    rewritten(folder, lambda t: t | {"cls.predictions.decoder.weight": torch.ones(VOCAB, 24)})
    with pytest.raises(InputError, match="set tie_word_embeddings to false"):
        fetched(folder, tmp_path / "out")


def test_fetch_looks_at_what_was_loaded_where_nobody_looked_before(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The second line of defence: a hub that keeps its weights pickled tells nothing until they are here."""
    monkeypatch.setattr("stages.teacher.stage.check", lambda config: None)
    for number, case in enumerate(("no position table", "more positions", "half a head")):
        folder = saved(tmp_path / f"teacher-{number}")
        UNFIT[case][0](folder)
        with pytest.raises(InputError, match=UNFIT[case][1]):
            fetched(folder, tmp_path / f"out-{number}")
