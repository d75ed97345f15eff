"""Which trainings an ablation consists of: the recipe with one change each, for a teacher, equally many tokens long."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.ablation.config import AblationConfig
from pipeline.ablation.variants import RECIPE, VARIANTS, Teacher, Variant
from pipeline.config.overrides import Scalar, flat
from pipeline.config.preflight import check_student
from pipeline.config.schema import PipelineConfig
from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import family_of
from stages.errors import InputError
from stages.tokens.blocks import Blocks


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A variant as a config."""

    variant: Variant
    config: PipelineConfig


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A variant that there is not, and why."""

    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained, the recipe first."""

    trained: tuple[Planned, ...]
    left_out: tuple[LeftOut, ...]


def teacher_of(config: Any) -> Teacher:
    """What of a teacher with this config decides which variants there are."""
    family = family_of(config)
    return Teacher(
        called=family.called(config),
        causal=family.objective is CAUSAL,
        folds=family.folds(config),
        has_head=family.has_head or not config.tie_word_embeddings,
        choose=lambda layers: family.choose(layers, config),
    )


def plan_of(config: PipelineConfig, asked: AblationConfig, teacher_config: Any) -> Plan:
    """The variants that are asked for, as far as they are another thing than the recipe and than one another.

    Raises `InputError` where a change makes what cannot be trained, where nothing is left, and where `tokens` are fewer
    than a step's.
    """
    check_tokens(config, asked.tokens)
    teacher = teacher_of(teacher_config)
    trained, left_out = [Planned(variant=RECIPE, config=config)], []
    for variant in VARIANTS:
        if asked.only and variant.name not in asked.only:
            continue
        made = variant.change(config, teacher)
        if not isinstance(made, str) and (twin := _twin(made, trained)):
            made = "it is what the recipe does" if twin == RECIPE.name else f"it is the same as {twin}"
        if isinstance(made, str):
            left_out.append(LeftOut(name=variant.name, why=made))
            continue
        check_student(made, teacher_config)
        trained.append(Planned(variant=variant, config=made))
    if len(trained) == 1:
        reasons = "; ".join(f"{one.name}: {one.why}" for one in left_out)
        raise InputError(f"nothing is left to compare with the recipe ({reasons}): ask for other variants.")
    return Plan(trained=tuple(trained), left_out=tuple(left_out))


def _twin(config: PipelineConfig, others: Sequence[Planned]) -> str:
    return next((one.variant.name for one in others if one.config == config), "")


def check_tokens(config: PipelineConfig, tokens: int | None) -> None:
    """Raise `InputError` where these are not enough for an optimiser step."""
    step = config.distil.global_batch * config.tokens.block_length
    if tokens is not None and tokens < step:
        raise InputError(f"--tokens is {tokens:,} but an optimiser step has up to {step:,}: give more, or none.")


def changes(one: PipelineConfig, recipe: PipelineConfig) -> dict[str, Scalar]:
    """The fields that differ from the recipe's, by their dotted paths."""
    before = flat(recipe)
    return {name: value for name, value in flat(one).items() if value != before.get(name)}


def as_long(
    one: PipelineConfig, blocks: Blocks, recipe: PipelineConfig, own: Blocks, tokens: int | None
) -> PipelineConfig:
    """A variant that learns from as many tokens as the recipe does, or from `tokens`, in whole steps.

    Padding is no token: blocks that are packed in another way hold more or fewer. Without `tokens` what has the
    recipe's own blocks, `own`, keeps its length too, so that a run of the recipe is one of the trainings.
    """
    if tokens is None and one.tokens == recipe.tokens:
        return one
    wanted = float(tokens or recipe.distil.total_steps(own.rows) * step_tokens(recipe, own))
    steps = max(1, round(wanted / step_tokens(one, blocks)))
    return replace(one, distil=replace(one.distil, steps=steps))


def step_tokens(config: PipelineConfig, blocks: Blocks) -> float:
    """Tokens of an optimiser step, on average, without padding."""
    return config.distil.global_batch * blocks.block_length * blocks.fill
