"""Which variants there are for a teacher, what each changes, for how long it learns, and what is refused."""

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from transformers import BertConfig, GPT2Config, RobertaConfig

from pipeline.ablation.config import AblationConfig, asked
from pipeline.ablation.plan import Plan, as_long, changes, plan_of
from pipeline.ablation.variants import NAMES
from pipeline.cli.arguments import config_of, parse, split
from pipeline.config.schema import PipelineConfig, override
from pipeline.recipes import recipe
from stages.errors import InputError

BERT, ROBERTA, GPT2 = BertConfig(), RobertaConfig(max_position_embeddings=514), GPT2Config()
PAPER = recipe("distilbert-base-uncased")


def planned(config: PipelineConfig, teacher: Any, *only: str) -> tuple[dict[str, Any], dict[str, str]]:
    """(what each variant changes, why the others are left out), by name."""
    plan: Plan = plan_of(config, AblationConfig(only=only), teacher)
    assert plan.trained[0].config == config
    assert plan.trained[0].variant.name == "recipe"
    made = {one.variant.name: changes(one.config, config) for one in plan.trained[1:]}
    return made, {one.name: one.why for one in plan.left_out}


def test_plan_of_the_paper_s_own_recipe() -> None:
    made, left_out = planned(PAPER, BERT)
    assert made == {
        "no-ce": {"distil.alpha_ce": 0.0},
        "no-cos": {"distil.alpha_cos": 0.0},
        "no-mlm": {"distil.alpha_mlm": 0.0},
        "random": {"distil.start": "random"},
        "unfolded": {"distil.start": "unfolded"},
        "random-head": {"distil.start": "random_head"},
        "layers-alternate": {"distil.layers": "0,2,4,6,8,10"},
        "layers-first": {"distil.layers": "0,1,2,3,4,5"},
        "ce-positions": {"distil.ce_positions": "masked"},
        "packing": {"tokens.packing": "stream"},
        "temperature-1": {"distil.temperature": 1.0},
        "temperature-4": {"distil.temperature": 4.0},
    }
    assert left_out == {"layers-spread": "these are the recipe's own blocks"}
    assert set(made) | set(left_out) == set(NAMES)


def test_plan_leaves_out_what_a_roberta_has_not() -> None:
    made, left_out = planned(PAPER, ROBERTA)
    assert left_out.pop("unfolded") == "no token types are folded into a student of this RoBERTa"
    assert list(left_out) == ["layers-spread"]
    assert "random-head" in made


def test_plan_leaves_out_what_a_gpt2_has_not() -> None:
    made, left_out = planned(recipe("distilgpt2"), GPT2)
    assert left_out["unfolded"] == "no token types are folded into a student of this GPT-2"
    assert left_out["random-head"] == "the head of this GPT-2 is its embeddings"
    assert left_out["ce-positions"] == "a GPT-2 is asked for a token at every position"
    assert made["packing"] == {"tokens.packing": "documents"}


def test_plan_of_a_bert_that_distilbert_cannot_express_or_is_not_to_be_one_has_nothing_to_unfold() -> None:
    assert "unfolded" in planned(PAPER, BertConfig(layer_norm_eps=1e-5))[1]
    assert "unfolded" in planned(override(PAPER, [("distil.student", "same")]), BERT)[1]


def test_plan_leaves_out_what_the_recipe_does_itself() -> None:
    base = override(PAPER, [("distil.temperature", "4"), ("distil.alpha_cos", "0"), ("distil.start", "random")])
    left_out = planned(base, BERT)[1]
    assert left_out["no-cos"] == "the recipe has no L_cos"
    assert left_out["random"] == left_out["temperature-4"] == "it is what the recipe does"
    alone = override(PAPER, [("distil.alpha_ce", "0"), ("distil.alpha_cos", "0")])
    left_out = planned(alone, BERT)[1]
    assert left_out["no-mlm"] == "the recipe has no other term than L_mlm"
    assert left_out["no-ce"] == left_out["ce-positions"] == left_out["temperature-1"] == "the recipe has no L_ce"


def test_plan_compares_students_of_one_depth_and_no_two_alike() -> None:
    made, left_out = planned(override(PAPER, [("distil.layers", "0,11")]), BertConfig(), *LAYERS)
    assert made == {"layers-first": {"distil.layers": "0,1"}}
    assert left_out["layers-alternate"] == "it would have 6 blocks, and the recipe's has 2"
    assert left_out["layers-spread"] == "these are the recipe's own blocks"
    made, left_out = planned(override(PAPER, [("distil.layers", "3")]), BertConfig(num_hidden_layers=4), *LAYERS)
    assert made == {"layers-first": {"distil.layers": "0,1,2"}}
    made, left_out = planned(override(PAPER, [("distil.layers", "1,2")]), BertConfig(num_hidden_layers=2 + 1), *LAYERS)
    assert left_out["layers-alternate"] == "it would have 1 blocks, and the recipe's has 2"


LAYERS = ("layers-alternate", "layers-first", "layers-spread")


def test_plan_of_nothing_is_refused_with_the_reasons() -> None:
    with pytest.raises(InputError, match=r"nothing is left to compare with the recipe \(ce-positions: a GPT-2 is"):
        planned(recipe("distilgpt2"), GPT2, "ce-positions")


@dataclass(frozen=True)
class Packed:
    """What `as_long` asks of blocks."""

    rows: int
    fill: float
    block_length: int = 100


def test_as_long_is_the_recipe_s_own_length_or_as_many_tokens_in_whole_steps() -> None:
    """A step has 10 blocks of 100: 1,000 positions, of which 950 or 500 are tokens."""
    own, other = Packed(rows=1_000, fill=0.95), Packed(rows=2_000, fill=0.5)
    base = override(PAPER, [("distil.epochs", "2"), ("distil.global_batch", "10"), ("tokens.block_length", "100")])
    other_config = override(base, [("tokens.packing", "stream")])

    def steps(config: PipelineConfig, blocks: Packed, tokens: int | None) -> int | None:
        made = as_long(config, blocks, base, own, tokens)  # type: ignore[arg-type]
        assert replace(made, distil=config.distil) == config
        return made.distil.steps

    assert steps(base, own, None) is None  # 2 epochs: 200 steps, 190,000 tokens
    assert steps(other_config, other, None) == 380
    assert steps(base, own, 9_500) == 10
    assert steps(other_config, other, 9_500) == 19
    assert steps(other_config, other, 1) == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("1", None, None), "--seeds is 1 but must be at least 2: one seed shows no spread"),
        (("many", None, None), "--seeds is 'many' but must be a whole number"),
        ((None, "no-cee", None), "there is no variant no-cee; did you mean no-ce?"),
        ((None, "xyz", None), "there is no variant xyz; there are no-ce, no-cos"),
        ((None, None, "lots"), "--tokens is 'lots' but must be a whole number"),
    ],
)
def test_asked_refuses_what_cannot_be(given: tuple[str | None, str | None, str | None], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        asked(*given)


def test_asked_reads_what_a_command_line_has() -> None:
    assert asked(None, None, None) == AblationConfig()
    assert asked("5", "no_ce, random,no-ce", "1e6") == AblationConfig(
        seeds=5, only=("no-ce", "random"), tokens=1_000_000
    )
    assert AblationConfig(seeds=3).seeds_from(2**32 - 1) == (2**32 - 1, 0, 1)


def test_command_takes_its_options_and_the_config_s_fields() -> None:
    words, fields = split(
        ["ablate", "demo", "--only", "no-ce", "--seeds=4", "--tokens", "9e5", "--tokens.packing", "documents"]
    )
    command = parse(words)
    assert (command.only, command.seeds, command.tokens) == ("no-ce", "4", "9e5")
    assert config_of(command, fields).tokens.packing == "documents"


def test_tokens_fewer_than_a_step_are_refused() -> None:
    with pytest.raises(InputError, match=r"--tokens is 100 but an optimiser step has up to 2,097,152: give more"):
        plan_of(PAPER, AblationConfig(tokens=100), BERT)
