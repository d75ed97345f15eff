"""What a search may set: each rule with the field and the value that broke it."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from pipeline.config.schema import from_yaml, override, to_yaml
from pipeline.recipes import recipe
from pipeline.records.record import fingerprint, identify
from pipeline.tuning.config import Dimension, TuneConfig, dimension
from stages.errors import ConfigError, InputError


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"trials": 0}, "tune.trials", "above 0"),
        ({"budget_tokens": -1}, "tune.budget_tokens", "above 0"),
        ({"evaluate_blocks": 0}, "tune.evaluate_blocks", "above 0"),
        ({"max_concurrent": 0}, "tune.max_concurrent", "above 0"),
        ({"grace": 0.0}, "tune.grace", "above 0 and at most 1"),
        ({"grace": 1.01}, "tune.grace", "above 0 and at most 1"),
        ({"grace": nan}, "tune.grace", "above 0 and at most 1"),
        ({"reduction_factor": 1}, "tune.reduction_factor", "at least 2"),
        ({"startup": -1}, "tune.startup", "from 0 to 5"),
        ({"startup": 6}, "tune.startup", "from 0 to 5"),
        ({"confirm_seeds": 1}, "tune.confirm_seeds", "at least 2"),
        ({"temperature": (2.1, 8.0)}, "tune.temperature", "holds 2"),
        ({"temperature": (1.0, 1.9)}, "tune.temperature", "holds 2"),
        ({"temperature": (0.0, 8.0)}, "tune.temperature", "above 0"),
        ({"temperature": (1.0, inf)}, "tune.temperature", "range"),
        ({"temperature": (2.0, 2.0)}, "tune.temperature", "range"),
        ({"spend": nan}, "tune.spend", "2.50 at least"),
    ],
)
def test_tune_config_that_breaks_a_rule_names_field_value_and_rule(
    change: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        TuneConfig(**change)
    assert caught.value.field == field
    assert caught.value.value is next(iter(change.values()))


@pytest.mark.parametrize(("trials", "grace", "least"), [(16, 0.125, 2.875), (1, 0.5, 1.0), (9, 1.0, 9.0)])
def test_tune_config_that_cannot_pay_for_every_trial_s_grace_is_refused(
    trials: int, grace: float, least: float
) -> None:
    TuneConfig(trials=trials, grace=grace, spend=least)
    with pytest.raises(ConfigError, match=f"{trials} trials need {least:.2f} at least") as caught:
        TuneConfig(trials=trials, grace=grace, spend=least - 0.001)
    assert caught.value.field == "tune.spend"


def test_tune_config_with_nothing_to_search_is_refused_and_any_one_thing_is_enough() -> None:
    with pytest.raises(InputError, match="nothing to search"):
        TuneConfig(temperature=None, weights="fixed")
    TuneConfig(temperature=None, weights="simplex")
    TuneConfig(temperature=(1.0, 4.0), weights="fixed")
    TuneConfig(temperature=None, weights="fixed", also=(dimension("dropout=0..0.3"),))


def test_tune_config_with_a_dimension_twice_names_it() -> None:
    with pytest.raises(ConfigError, match="twice") as caught:
        TuneConfig(also=(dimension("dropout=0..0.3"), dimension("warmup=0..0.2"), dimension("dropout=0..0.1")))
    assert (caught.value.field, caught.value.value) == ("tune.also", "dropout")


def test_tune_config_of_another_concurrency_is_the_same_search() -> None:
    def identity_of(config: TuneConfig) -> str:
        return fingerprint(identify("search", 1, config))

    assert identity_of(TuneConfig(max_concurrent=3)) == identity_of(TuneConfig())
    assert identity_of(TuneConfig(spend=6.0)) != identity_of(TuneConfig())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=5e-4..4e-3:log", Dimension(field="learning_rate", low=0.0005, high=0.004, log=True)),
        ("dropout=0..0.3", Dimension(field="dropout", low=0.0, high=0.3)),
        ("distil.mask-rate=.1...4", Dimension(field="mask_rate", low=0.1, high=0.4)),
        ("ce_positions=all|masked", Dimension(field="ce_positions", choices=("all", "masked"))),
        ("layers=1..4", Dimension(field="layers", low=1.0, high=4.0)),
        ("layers=released | 2|0,2", Dimension(field="layers", choices=("released", "2", "0,2"))),
        ("dropout=0|0.1", Dimension(field="dropout", choices=("0", "0.1"))),
    ],
)
def test_dimension_from_text_is_what_it_says(text: str, expected: Dimension) -> None:
    assert dimension(text) == expected


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("dropout=a..0.3", "--search dropout", "a"),
        ("dropout=0..0.3:lin", "--search dropout", "0.3:lin"),
        ("dropout=0.3..0", "tune.also dropout", "0.3..0.0"),
        ("dropout=0.1..0.1", "tune.also dropout", "0.1..0.1"),
        ("dropout=0..0.3:log", "tune.also dropout", "0.0..0.3"),
        ("dropout=nan..0.3", "tune.also dropout", "nan..0.3"),
        ("learning_rate=1e-3..inf", "tune.also learning_rate", "0.001..inf"),
        ("ce_positions=0..1", "tune.also ce_positions", "0.0..1.0"),
        ("dropout=0..1", "distil.dropout", 1.0),
        ("warmup=-0.1..0.1", "distil.warmup", -0.1),
        ("global_batch=0..64", "distil.global_batch", 0),
        ("layers=1.5..4", "distil.layers", "1.5"),
        ("layers=1..inf", "tune.also layers", "1.0..inf"),
        ("ce_positions=all|some", "distil.ce_positions", "some"),
        ("mask_rate=0.1|2", "distil.mask_rate", 2.0),
        ("dropout=0.1", "tune.also dropout", "0.1"),
        ("dropout=0.1|0.10", "tune.also dropout", "0.1|0.10"),
        ("layers=2|", "tune.also layers", "2|"),
    ],
)
def test_dimension_out_of_its_field_s_rules_names_field_and_value(text: str, field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        dimension(text)
    assert (caught.value.field, caught.value.value) == (field, value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dropout", "is no range: write FIELD=LOW..HIGH"),
        ("dropout=", "is no range"),
        ("droput=0..0.3", "there is no field of distil droput; did you mean dropout?"),
        ("temperature=1..4", "temperature is searched already"),
        ("alpha_mlm=1..4", "alpha_mlm is searched already"),
        ("steps=10..20", "steps cannot be searched: tune.budget_tokens"),
        ("epochs=1..2", "epochs cannot be searched: tune.budget_tokens"),
        ("workers=1..4", "workers cannot be searched: it bears on no result"),
        ("micro_batch=1|4", "micro_batch cannot be searched: it bears on no result"),
    ],
)
def test_dimension_of_what_cannot_be_searched_says_why(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        dimension(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"low": 0.1},
        {"high": 0.1},
        {"low": 0.1, "choices": ("0.1", "0.2")},
        {"low": 0.1, "high": 0.2, "choices": ("0.1", "0.2")},
    ],
)
def test_dimension_that_is_neither_a_range_nor_choices_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must have low and high, or choices") as caught:
        Dimension(field="dropout", **parts)
    assert caught.value.field == "tune.also dropout"


@pytest.mark.parametrize(("field", "whole"), [("layers", True), ("global_batch", True), ("dropout", False)])
def test_dimension_is_whole_where_the_field_takes_no_fraction(field: str, whole: bool) -> None:
    low, high = (2, 4) if whole else (0.1, 0.2)
    assert Dimension(field=field, low=low, high=high).is_whole == whole


def test_tune_config_with_dimensions_is_the_same_after_yaml() -> None:
    texts = ("learning_rate=5e-4..4e-3:log", "ce_positions=all|masked", "layers=2|0,2|released", "dropout=0|0.1")
    tune = TuneConfig(trials=8, temperature=None, weights="scaled", also=tuple(dimension(text) for text in texts))
    config = replace(recipe("demo"), tune=tune)
    assert from_yaml(to_yaml(config), "mine.yaml") == config


def test_tune_config_in_yaml_that_breaks_a_rule_names_the_file() -> None:
    config = replace(recipe("demo"), tune=TuneConfig(also=(dimension("dropout=0..0.25"),)))
    with pytest.raises(InputError, match=r"mine\.yaml: tune\.also dropout is '0\.0\.\.-0\.25'"):
        from_yaml(to_yaml(config).replace("high: 0.25", "high: -0.25"), "mine.yaml")


def test_tune_config_fields_from_the_command_line_are_typed() -> None:
    texts = [("tune.temperature", "1.5,4"), ("tune.budget-tokens", "1e5"), ("tune.weights", "fixed")]
    assert override(recipe("demo"), texts).tune == replace(
        recipe("demo").tune, temperature=(1.5, 4.0), budget_tokens=100_000, weights="fixed"
    )
