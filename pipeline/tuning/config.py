"""What a search may set, on which budget, and what it makes smaller."""

from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from typing import Literal, get_type_hints

from pipeline.config.annotations import members_of
from pipeline.config.nearest_name import unknown
from pipeline.config.overrides import Scalar, from_text
from stages.context import not_fingerprinted
from stages.distil.config import DistilConfig
from stages.errors import ConfigError, InputError

Objective = Literal["heldout_mlm_loss", "heldout_kl", "heldout_disagreement"]
TOTAL = 8.0
"""What the three weights add up to, as the paper's 5 + 2 + 1 do."""
SCALES = (2.0, 32.0)
"""What they may add up to where their scale is searched too."""
PAPER: dict[str, Scalar] = {"temperature": 2.0, "alpha_ce": 5.0, "alpha_mlm": 2.0, "alpha_cos": 1.0}
"""Trial 0: the released DistilBERT's temperature and weights."""
_OF_THE_SEARCH = ("steps", "epochs", *PAPER)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A further field of the distil config and what a search may set it to: a number from `low` to `high`, or one of
    `choices`."""

    field: str
    """Such as learning_rate, mask_rate, layers, ce_positions."""
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Whether the logarithm is what is uniform."""
    choices: tuple[str, ...] = ()
    """Written as on a command line."""

    def __post_init__(self) -> None:
        _check_field(self.field)
        bounded = self.low is not None and self.high is not None
        if bounded == bool(self.choices) or (self.low is None) != (self.high is None):
            raise ConfigError(f"tune.also {self.field}", _shown(self), "must have low and high, or choices")
        if self.choices:
            self._check_choices()
            return
        assert self.low is not None
        assert self.high is not None
        finite = isfinite(self.low) and isfinite(self.high)
        if not finite or self.low >= self.high or (self.log and self.low <= 0):
            rule = "must go from a lower to a higher number, both above 0 where it is logarithmic"
            raise ConfigError(f"tune.also {self.field}", _shown(self), rule)
        if not {int, float} & set(members_of(get_type_hints(DistilConfig)[self.field])):
            raise ConfigError(f"tune.also {self.field}", _shown(self), "is no number: give choices")
        for end in (self.low, self.high):
            _value_of(self.field, str(end))

    def _check_choices(self) -> None:
        values = [_value_of(self.field, choice) for choice in self.choices]
        if not all(self.choices) or len(set(values)) < max(2, len(values)):
            raise ConfigError(f"tune.also {self.field}", _shown(self), "must have two choices or more, all different")

    @property
    def is_whole(self) -> bool:
        """Whether the field takes whole numbers only."""
        return float not in members_of(get_type_hints(DistilConfig)[self.field])


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """A search over the distil config: its space, its budget and its objective."""

    trials: int = 16
    """Settings that are tried; the first is always the paper's."""
    objective: Objective = "heldout_mlm_loss"
    """What is made smaller, on held-out text, of the student: the masked-LM loss, KL(teacher ‖ student) at T = 1, or
    the share of positions asked for where it does not rank first what the teacher does. None depends on what is
    searched, as the training loss does."""
    temperature: tuple[float, float] | None = (1.0, 8.0)
    """Range of T, log-uniform; none: T is not searched."""
    weights: Literal["simplex", "scaled", "fixed"] = "simplex"
    """simplex: alpha_ce, alpha_mlm and alpha_cos are 8 × a point of the simplex, as Adam hardly sees a common scale.
    scaled: they add up to anything from 2 to 32. fixed: they are not searched."""
    also: tuple[Dimension, ...] = ()
    """Further fields of the distil config; on the command line `--search FIELD=LOW..HIGH`, `--search FIELD=A|B`."""
    budget_tokens: int | None = None
    """Tokens of a whole trial, over which its learning rate rises and falls; none: a quarter of the full run's."""
    grace: float = 0.1
    """Share of a whole trial after which it may be stopped for the first time; the next time is
    `reduction_factor` times later."""
    reduction_factor: int = 4
    """One of so many trials goes on (ASHA's η)."""
    spend: float = 5.0
    """What all trials may cost together, in whole trials."""
    startup: int = 4
    """Trials that are drawn at random, before TPE has enough to go by."""
    evaluate_blocks: int = 256
    """Held-out blocks on which a trial is scored: at most a half of them, the other is for confirming."""
    confirm_seeds: int = 4
    """Seeds on which the paper's setting and the two best others are run again, at most, before any is called better.
    With 4, a gain of twice the paired differences' standard deviation is found in 75.5 % of searches; with 3 in 47 %,
    with 5 in 91 %."""
    max_concurrent: int | None = not_fingerprinted(None)
    """Trials at the same time; none: as many as find a place, and at most a quarter of them."""

    def __post_init__(self) -> None:
        for name in ("trials", "budget_tokens", "evaluate_blocks", "max_concurrent"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"tune.{name}", value, "must be above 0")
        if not 0 < self.grace <= 1:
            raise ConfigError("tune.grace", self.grace, "must be above 0 and at most 1")
        if self.reduction_factor < 2:
            raise ConfigError("tune.reduction_factor", self.reduction_factor, "must be at least 2")
        if not 0 <= self.startup <= 5:
            raise ConfigError("tune.startup", self.startup, "must be from 0 to 5")
        if self.confirm_seeds < 2:
            raise ConfigError("tune.confirm_seeds", self.confirm_seeds, "must be at least 2: one seed shows no spread")
        least = 1 + self.grace * (self.trials - 1)
        if not self.spend >= least:  # which nan is not either
            rule = (
                f"{self.trials} trials need {least:.2f} at least: the first runs to its end, the others to tune.grace"
            )
            raise ConfigError("tune.spend", self.spend, rule)
        low, high = self.temperature or (1.0, 8.0)
        if not 0 < low <= 2 <= high < inf or low == high:
            rule = "must be a range above 0 that holds 2: trial 0 is the paper's setting"
            raise ConfigError("tune.temperature", self.temperature, rule)
        names = [dimension.field for dimension in self.also]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError("tune.also", name, "is there twice: leave one of them out")
        if self.temperature is None and self.weights == "fixed" and not self.also:
            raise InputError("the search has nothing to search: set tune.temperature, tune.weights or tune.also.")


def dimension(text: str) -> Dimension:
    """The dimension that FIELD=LOW..HIGH, FIELD=LOW..HIGH:log or FIELD=A|B means; raises `InputError`."""
    field, given, values = text.partition("=")
    field = field.strip().removeprefix("distil.").replace("-", "_")
    if not given or not values:
        raise InputError(f"--search {text} is no range: write FIELD=LOW..HIGH, FIELD=LOW..HIGH:log or FIELD=A|B.")
    low, between, high = values.partition("..")
    if not between:
        return Dimension(field=field, choices=tuple(value.strip() for value in values.split("|")))
    log = high.endswith(":log")
    path = f"--search {field}"
    return Dimension(
        field=field,
        low=from_text(float, low, path),
        high=from_text(float, high.removesuffix(":log"), path),
        log=log,
    )


def _check_field(name: str) -> None:
    known = [f.name for f in fields(DistilConfig) if f.metadata.get("fingerprint", True)]
    free = [one for one in known if one not in _OF_THE_SEARCH]
    if name in PAPER:
        raise InputError(f"{name} is searched already: its range is tune.temperature's or tune.weights' business.")
    if name in known and name not in free:
        raise InputError(f"{name} cannot be searched: tune.budget_tokens says how long a trial is.")
    if name not in known and name in {f.name for f in fields(DistilConfig)}:
        raise InputError(f"{name} cannot be searched: it bears on no result, only on where and how fast.")
    if name not in free:
        raise unknown("field of distil", name, free, f"there are {', '.join(free)}.")


def _value_of(name: str, text: str) -> object:
    """The value that `text` means for the field; raises the config's own error where it does not take it."""
    value = from_text(get_type_hints(DistilConfig)[name], text, f"distil.{name}")
    replace(DistilConfig(), **{name: value})
    return value


def _shown(dimension: Dimension) -> str:
    return "|".join(dimension.choices) or f"{dimension.low}..{dimension.high}"
