"""The whole config to and from YAML."""

import random
from dataclasses import dataclass, replace

import pytest
import yaml

from pipeline.config.schema import PipelineConfig, bearing, flat, from_yaml, override, read_yaml, to_yaml
from pipeline.recipes import NAMES, recipe
from pipeline.records.record import fingerprint, identify
from stages.errors import InputError

ODD_TEXTS = (
    "",
    " ",
    "no",
    "null",
    "~",
    "1_000",
    "5e-4",
    "0x1f",
    "2026-01-01",
    "a: b",
    "- a",
    "# a",
    "'\"",
    "a\nb\n",
    "\ttab",
    "größe ‖ 漢字 🙂",
    "%TAG",
    "[a, b]",
    "{a}",
    "x" * 300,
)
ODD_NUMBERS = (0.0, -0.0, 1e-5, 5e-4, 0.1, 1e22, 1e300, 5e-324, float("inf"), 3.0)


@dataclass(frozen=True, kw_only=True)
class Odd:
    text: str
    maybe: str | None
    number: float
    either: float | str
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    whole: int
    flag: bool


def an_odd_one(dice: random.Random) -> Odd:
    return Odd(
        text=dice.choice(ODD_TEXTS),
        maybe=dice.choice((None, *ODD_TEXTS)),
        number=dice.choice(ODD_NUMBERS),
        either=dice.choice((*ODD_NUMBERS, *ODD_TEXTS)),
        texts=tuple(dice.choices(ODD_TEXTS, k=dice.randrange(4))),
        numbers=tuple(dice.choices(ODD_NUMBERS, k=dice.randrange(4))),
        whole=dice.choice((0, -1, 10**18)),
        flag=dice.random() < 0.5,
    )


def test_yaml_of_odd_values_round_trips_exactly() -> None:
    dice = random.Random(0)
    for _ in range(300):
        config = an_odd_one(dice)
        again = read_yaml(Odd, to_yaml(config), "config.yaml")
        assert again == config
        assert repr(again) == repr(config)  # -0.0 and 3.0 stay what they were


@pytest.mark.parametrize("name", NAMES)
def test_yaml_of_every_recipe_round_trips(name: str) -> None:
    config = recipe(name)
    assert from_yaml(to_yaml(config), "config.yaml") == config
    assert config.name == name


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seed: 1", "sead: 1", "my.yaml: there is no field sead; did you mean seed?"),
        ("name: demo\n", "", "my.yaml: name is missing; it must be text."),
        ("workdir: runs/demo\n", "", "my.yaml: workdir is missing; it must be text."),
        ("seed: 1", "seed: one", "my.yaml: seed is 'one' but must be a whole number."),
        ("  temperature: 2.0", "  temprature: 2.0", "my.yaml: there is no field distil.temprature; did you mean"),
        ("  temperature: 2.0", "  temperature: 0.0", "my.yaml: distil.temperature is 0.0 but must be"),
        ("seed: 1", "seed: [", "my.yaml is not YAML: "),
        ("  source: library-docs", "  source: 2026-01-01", "my.yaml: corpus.source is datetime.date(2026, 1, 1) but"),
    ],
)
def test_yaml_that_is_wrong_names_file_and_path(old: str, new: str, sentence: str) -> None:
    text = to_yaml(recipe("demo"))
    assert old in text
    with pytest.raises(InputError) as caught:
        from_yaml(text.replace(old, new, 1), "my.yaml")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_yaml_of_an_older_version_gets_the_defaults_of_what_it_lacks_and_says_which() -> None:
    data = yaml.safe_load(to_yaml(replace(recipe("demo"), seed=0)))
    del data["seed"], data["distil"]["row_log"], data["evaluate"]["micro_batch"]
    told: list[str] = []
    assert from_yaml(yaml.safe_dump(data), "my.yaml", told.append) == replace(recipe("demo"), seed=0)
    names = "seed, distil.row_log, evaluate.micro_batch"
    assert told == [f"my.yaml does not give {names}: there the default is taken."]


def test_yaml_without_a_whole_group_names_some_of_its_fields_and_their_number() -> None:
    data = yaml.safe_load(to_yaml(recipe("demo")))
    del data["tune"]
    told: list[str] = []
    assert from_yaml(yaml.safe_dump(data), "my.yaml", told.append) == recipe("demo")
    fields = [name for name in flat(recipe("demo")) if name.startswith("tune.")]
    assert told[0].startswith(f"my.yaml does not give {', '.join(fields[:5])} and {len(fields) - 5} more: ")


def test_yaml_that_gives_every_field_says_nothing() -> None:
    told: list[str] = []
    for name in NAMES:
        from_yaml(to_yaml(recipe(name)), "my.yaml", told.append)
    assert told == []


@pytest.mark.parametrize("text", ["", "3", "- a"])
def test_yaml_that_is_no_table_says_so(text: str) -> None:
    with pytest.raises(InputError, match=r"my\.yaml holds no config"):
        from_yaml(text, "my.yaml")


def test_yaml_with_scientific_numbers_is_read_as_people_write_it() -> None:
    text = to_yaml(replace(recipe("demo"), seed=1)).replace("  learning_rate: 0.001", "  learning_rate: 1e-3")
    assert from_yaml(text, "my.yaml") == recipe("demo")


# fmt: off
CONTRACT = (
    "workdir", "storage", "seed", "corpus.source", "corpus.paths", "corpus.text_column", "tokens.block_length",
    "teacher.model", "distil.steps", "distil.epochs", "distil.global_batch", "distil.micro_batch",
    "distil.learning_rate", "distil.temperature", "distil.alpha_ce", "distil.alpha_mlm", "distil.alpha_cos",
    "distil.layers", "distil.dropout", "distil.precision", "distil.workers", "distil.gpu", "distil.checkpoint_every",
    "tracking.uri",
)
# fmt: on


@pytest.mark.parametrize("path", CONTRACT)
def test_config_has_the_field_that_people_rely_on(path: str) -> None:
    assert path in flat(recipe("demo"))


def test_config_of_placement_bears_on_no_fingerprint() -> None:
    def mark(config: PipelineConfig) -> str:
        return fingerprint(identify("distil", 1, config.distil))

    config = recipe("demo")
    assert mark(override(config, [("distil.workers", "2")])) == mark(config)
    assert mark(override(config, [("distil.temperature", "3")])) != mark(config)


@pytest.mark.parametrize(("field", "text"), [("seed", "-1"), ("workdir", "")])
def test_config_with_a_bad_value_names_its_field(field: str, text: str) -> None:
    with pytest.raises(InputError, match=f"^{field} is"):
        override(recipe("demo"), [(field, text)])


def test_config_root_is_the_storage_where_one_is_given() -> None:
    config = recipe("demo")
    assert config.root.path.parts[-2:] == ("runs", "demo")
    assert override(config, [("storage", "s3://bucket/demo")]).root.uri == "s3://bucket/demo"


def test_bearing_a_run_has_no_fields_of_what_it_does_not_do() -> None:
    names = set(bearing(recipe("demo")))
    assert {"seed", "corpus.source", "tokens.packing", "teacher.model", "distil.temperature", "publish.name"} <= names
    assert not [name for name in names if name.startswith(("pretrain", "teacher.adapt.", "tune.", "tracking."))]
    adapted = override(recipe("demo"), [("teacher.adapt_steps", "5")])
    assert {"teacher.adapt_steps", "teacher.adapt.learning_rate"} <= set(bearing(adapted))


def test_bearing_a_search_has_its_own_fields_and_none_of_what_comes_after_distilling() -> None:
    names = set(bearing(recipe("demo"), search=True))
    assert {"tune.trials", "tune.spend", "distil.temperature", "tokens.packing"} <= names
    assert not [name for name in names if name.startswith(("evaluate.", "publish.", "pretrain", "until"))]


@pytest.mark.parametrize(("until", "has"), [("distil", set()), ("evaluate", {"evaluate"}), ("teacher", set())])
def test_bearing_a_run_that_stops_early_has_no_fields_of_later_stages(until: str, has: set[str]) -> None:
    names = bearing(override(recipe("demo"), [("until", until)]))
    found = {name.partition(".")[0] for name in names}
    assert found & {"evaluate", "publish"} == has
    assert (found & {"tokens", "distil"} == set()) is (until == "teacher")


def test_bearing_a_pre_trained_teacher_has_its_phases_in_the_place_of_a_models_name() -> None:
    names = bearing(recipe("demo-teacher"))
    assert any(name.startswith("pretrain.") for name in names)
    assert "teacher.model" not in names
