"""What an ablation leaves out or does in another way, one thing at a time: the paper's table 4, and choices of ours.

Loads nothing heavy: which variants there are is known before anything else is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.config.schema import PipelineConfig, override
from stages.distillation.models.layers import Layers
from stages.errors import ConfigError, InputError

By = Literal["recipe", "paper", "ours"]
TEMPERATURES = (1.0, 4.0)
"""Beside the paper's 2: the plain softmax, and a softer one."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """What of a teacher decides which variants there are."""

    called: str
    """Such as BERT."""
    causal: bool
    """Whether it predicts the next token, with nothing masked."""
    folds: bool
    """Whether its student's positions have its token types added in."""
    has_head: bool
    """Whether a head is copied that is more than the embeddings."""
    choose: Callable[[Layers], tuple[int, ...]]
    """The blocks that `distil.layers` means; raises `ConfigError`."""


Change = Callable[[PipelineConfig, Teacher], PipelineConfig | str]
"""The recipe with the change, or in words why there is none to make."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One thing that is left out, or done in another way."""

    name: str
    by: By
    """paper: in table 4 of the paper; ours: a choice that the paper leaves open, or that we made."""
    what: str
    change: Change


def _same(config: PipelineConfig, teacher: Teacher) -> PipelineConfig:
    return config


def _weight(name: str, meaning: str) -> Change:
    """Without one of the three terms."""

    def change(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
        """Its weight is 0; a word on why not, where that leaves nothing out or nothing in."""
        if not getattr(config.distil, name):
            return f"the recipe has no {meaning}"
        try:
            return override(config, [(f"distil.{name}", "0")])
        except InputError:
            return f"the recipe has no other term than {meaning}"

    return change


def _random(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
    return replace(config, distil=replace(config.distil, start="random"))


def _unfolded(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
    if not teacher.folds or config.distil.student == "same":
        return f"no token types are folded into a student of this {teacher.called}"
    return replace(config, distil=replace(config.distil, start="unfolded"))


def _random_head(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
    if not teacher.has_head:
        return f"the head of this {teacher.called} is its embeddings"
    return replace(config, distil=replace(config.distil, start="random_head"))


def _layers(choose: Callable[[int], Layers]) -> Change:
    """As many other blocks; `choose` makes a choice of so many."""

    def change(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
        """The choice as a list; a word on why not, where it is the recipe's own or none of as many."""
        mine = teacher.choose(config.distil.layers)
        try:
            chosen = teacher.choose(choose(len(mine)))
        except ConfigError as error:
            return f"a student of this {teacher.called} cannot be made so: {error.rule}"
        if chosen == mine:
            return "these are the recipe's own blocks"
        if len(chosen) != len(mine):
            return f"it would have {len(chosen)} blocks, and the recipe's has {len(mine)}"
        return replace(config, distil=replace(config.distil, layers=chosen))

    return change


def _ce_positions(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
    if teacher.causal:
        return f"a {teacher.called} is asked for a token at every position"
    if not config.distil.alpha_ce:
        return "the recipe has no L_ce"
    other: Literal["all", "masked"] = "masked" if config.distil.ce_positions == "all" else "all"
    return replace(config, distil=replace(config.distil, ce_positions=other))


def _packing(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
    other: Literal["documents", "stream"] = "stream" if config.tokens.packing == "documents" else "documents"
    return replace(config, tokens=replace(config.tokens, packing=other))


def _temperature(value: float) -> Change:
    """Another T of the softened cross-entropy."""

    def change(config: PipelineConfig, teacher: Teacher) -> PipelineConfig | str:
        """With that T; a word on why not, where nothing is softened."""
        if not config.distil.alpha_ce:
            return "the recipe has no L_ce"
        return replace(config, distil=replace(config.distil, temperature=value))

    return change


RECIPE = Variant(name="recipe", by="recipe", what="the full recipe", change=_same)
VARIANTS = (
    Variant(name="no-ce", by="paper", what="without L_ce", change=_weight("alpha_ce", "L_ce")),
    Variant(name="no-cos", by="paper", what="without L_cos", change=_weight("alpha_cos", "L_cos")),
    Variant(name="no-mlm", by="paper", what="without L_mlm", change=_weight("alpha_mlm", "L_mlm")),
    Variant(name="random", by="paper", what="random weights at the start", change=_random),
    Variant(name="unfolded", by="ours", what="token types not folded into positions", change=_unfolded),
    Variant(name="random-head", by="ours", what="the head not copied", change=_random_head),
    Variant(name="layers-alternate", by="ours", what="every other block", change=_layers(lambda number: "alternate")),
    Variant(
        name="layers-first", by="ours", what="the first blocks", change=_layers(lambda number: tuple(range(number)))
    ),
    Variant(name="layers-spread", by="ours", what="blocks from first to last", change=_layers(lambda number: number)),
    Variant(name="ce-positions", by="ours", what="L_ce at the other positions", change=_ce_positions),
    Variant(name="packing", by="ours", what="packed the other way", change=_packing),
    *(
        Variant(name=f"temperature-{value:g}", by="ours", what=f"T = {value:g}", change=_temperature(value))
        for value in TEMPERATURES
    ),
)
NAMES = tuple(variant.name for variant in VARIANTS)
