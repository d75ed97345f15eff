"""Setting fields by dotted paths: every type that a config may use, and the sentence for what does not fit."""

from dataclasses import dataclass
from typing import Literal

import pytest

from pipeline.config.overrides import flat, override
from stages.errors import ConfigError, InputError


@dataclass(frozen=True, kw_only=True)
class Phase:
    steps: int
    rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Learning:
    steps: int = 10
    temperature: float = 2.0
    gpu: bool = False
    model: str = "tiny"
    limit: int | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    layers: int | Literal["half"] | tuple[int, ...] = "half"
    paths: tuple[str, ...] = ()
    betas: tuple[float, float] = (0.9, 0.98)
    phases: tuple[Phase, ...] = (Phase(steps=1), Phase(steps=2))
    adapt: Phase | None = None
    least: int = 0
    most: int = 9

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ConfigError("distil.least", self.least, f"must be at most distil.most, {self.most}")


@dataclass(frozen=True, kw_only=True)
class Whole:
    seed: int = 0
    distil: Learning = Learning()


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("steps", "100", 100),
        ("steps", "1_000", 1000),
        ("steps", "1e5", 100_000),
        ("steps", "-3", -3),
        ("temperature", "3", 3.0),
        ("temperature", "5e-4", 0.0005),
        ("gpu", "true", True),
        ("gpu", "No", False),
        ("model", "none", "none"),
        ("model", "", ""),
        ("model", "a=b,c", "a=b,c"),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("precision", "bf16", "bf16"),
        ("layers", "half", "half"),
        ("layers", "3", 3),
        ("layers", "0,2", (0, 2)),
        ("layers", "2,", (2,)),
        ("layers", "[0, 2, 4]", (0, 2, 4)),
        ("paths", "", ()),
        ("paths", "a.txt, b.txt", ("a.txt", "b.txt")),
        ("paths", "[a.txt, 'b,c.txt']", ("a.txt", "b,c.txt")),
        ("paths", "[ab]*.txt", ("[ab]*.txt",)),
        ("paths", '["a,b.txt"]', ("a,b.txt",)),
        ("paths", r"a\,b.txt", ("a,b.txt",)),
        ("paths", r"a\,b.txt,c.txt", ("a,b.txt", "c.txt")),
        ("layers", r"0\,2,4", (0, 2, 4)),  # `--layers 0,2 4`
        ("betas", "0.5,1", (0.5, 1.0)),
        ("phases", "[{steps: 4}, {steps: 5, rate: 5e-1}]", (Phase(steps=4), Phase(steps=5, rate=0.5))),
        ("phases.1.steps", "7", (Phase(steps=1), Phase(steps=7))),
        ("adapt.steps", "7", Phase(steps=7)),
    ],
)
def test_override_of_every_type_sets_the_typed_value(field: str, text: str, value: object) -> None:
    changed = getattr(override(Whole(), [(f"distil.{field}", text)]).distil, field.split(".")[0])
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "rule"),
    [
        ("steps", "many", "a whole number"),
        ("steps", "1.5", "a whole number"),
        ("temperature", "hot", "a number"),
        ("gpu", "maybe", "true or false"),
        ("precision", "int8", "'auto' or 'bf16' or 'fp32'"),
        ("layers", "third", "a whole number, 'half' or a list of whole numbers"),
        ("limit", "few", "a whole number or none"),
        ("betas", "1,2,3", "a list of numbers"),
        ("phases", "3", "a list of items"),
        ("phases.0.steps", "x", "a whole number"),
    ],
)
def test_override_of_another_type_names_field_value_and_rule(field: str, text: str, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        override(Whole(), [(f"distil.{field}", text)])
    assert str(caught.value).startswith(f"distil.{field} is {text!r} but must be {rule}")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("distil.temprature", "distil.temperature"),
        ("temperature", "distil.temperature"),
        ("distill.gpu", "distil.gpu"),
        ("sead", "seed"),
        ("distil.phases.0.step", "distil.phases.0.steps"),
        ("distil.phases.9.steps", "distil.phases.0.steps"),
    ],
)
def test_override_of_an_unknown_field_gives_the_nearest(path: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        override(Whole(), [(path, "1")])
    assert str(caught.value) == f"there is no field {path}; did you mean {near}?"


def test_override_of_a_field_like_none_says_where_they_are_listed() -> None:
    with pytest.raises(InputError, match=r"no field qqq; .*--help"):
        override(Whole(), [("qqq", "1")])


def test_override_of_a_group_asks_for_one_of_its_fields() -> None:
    with pytest.raises(InputError, match=r"such as --distil\.steps"):
        override(Whole(), [("distil", "3")])


def test_override_with_hyphens_is_the_same_as_with_underscores() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Config:
        global_batch: int = 1

    assert override(Config(), [("global-batch", "2")]) == override(Config(), [("global_batch", "2")])


def test_override_of_fields_that_depend_on_each_other_sets_them_at_once() -> None:
    assert override(Whole(), [("distil.least", "20"), ("distil.most", "30")]).distil.least == 20
    with pytest.raises(InputError, match=r"at most distil\.most"):
        override(Whole(), [("distil.least", "20")])


def test_override_twice_takes_the_last() -> None:
    assert override(Whole(), [("seed", "1"), ("seed", "2")]).seed == 2


def test_override_of_a_group_and_of_a_field_inside_of_it_asks_for_one_of_the_two() -> None:
    with pytest.raises(InputError, match=r"^--distil\.phases and a field inside of it are both given"):
        override(Whole(), [("distil.phases.0.steps", "3"), ("distil.phases", "[]")])


def test_override_of_a_group_that_is_not_there_makes_it_and_wants_what_it_needs() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Outer:
        whole: Whole | None = None
        phase: Phase | None = None

    made = override(Outer(), [("whole.distil.adapt.steps", "7"), ("whole.seed", "3")])
    assert made == Outer(whole=Whole(seed=3, distil=Learning(adapt=Phase(steps=7))))
    with pytest.raises(InputError, match=r"^phase\.steps is missing; it must be a whole number\.$"):
        override(Outer(), [("phase.rate", "2")])


def test_override_leaves_the_config_it_was_given_alone() -> None:
    config = Whole()
    override(config, [("seed", "1")])
    assert config == Whole()


def test_flat_gives_scalars_by_path() -> None:
    found = flat(Whole(distil=Learning(paths=("a", "b"))))
    assert found["distil.temperature"] == 2.0
    assert found["distil.paths"] == "a,b"
    assert found["distil.phases.1.steps"] == 2
    assert found["distil.adapt"] is None
    assert all(value is None or isinstance(value, str | int | float) for value in found.values())
