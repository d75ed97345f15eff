"""What a run would train, and a search: steps, tokens and operations, as far as they are known before anything runs."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoConfig

from pipeline.config.schema import PipelineConfig
from pipeline.cost.flops import block_flops, forward_of
from pipeline.records.products import Products
from pipeline.tuning.verdict import CANDIDATES
from stages.distillation.data.masking import masked_per_block
from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import family_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.mask_options import ends_of
from stages.evaluation.heldout import RATE
from stages.storage import Folder
from stages.teacher.fitness.preflight import read_config
from stages.teacher.pretrain import model_config
from stages.teacher.source import is_folder, place_of
from stages.tokens.blocks import Blocks
from stages.training.config import TrainConfig

ALONE = LossWeights(alpha_ce=0.0, alpha_mlm=1.0, alpha_cos=0.0)
"""Of a model that has no teacher."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Something that computes for long: a stage of a run that would run, or a search."""

    what: str
    """The stage's name, or "search"."""
    train: TrainConfig
    """Where and how it computes."""
    packing: str
    flops_per_token: float
    """Of its matrix products, padding counted as text."""
    block_length: int
    steps: int | None = None
    """None where they follow from text that is not packed yet, and where there is no such thing."""
    steps_each: int | None = None
    """Of each training where it is several; None: not known yet."""
    tokens: float | None = None
    """Padding among them, as a batch is so many blocks; None: not known yet."""
    at_most: bool = False
    """Whether it may be less."""

    @property
    def flops(self) -> float | None:
        """Of the whole of it."""
        return None if self.tokens is None else self.tokens * self.flops_per_token


def trainings(config: PipelineConfig, products: Products) -> tuple[Training, ...]:
    """Of the stages that would run, in their order, and of a search with this config.

    Raises `InputError` where the teacher cannot be looked at.
    """
    found = _of_the_teacher(config, products)
    if config.until != "teacher":
        teacher = _teacher_config(config, products)
        distil = _distilling(config, products, teacher)
        if products.student is not None and not products.student.reused:
            found.append(distil)
        if products.report is not None and not products.report.reused:
            found.append(_evaluating(config, teacher))
        found.append(_searching(config, distil, products))
    return tuple(found)


def _teacher_config(config: PipelineConfig, products: Products) -> Any:
    """The config of the model that teaches: of the one that is recorded, or will be made, or lies where it says."""
    made = products.teacher.recorded
    if made is not None:
        with TemporaryDirectory() as local:
            Folder(made.folder.uri).copy_to(Path(local), ("config.json",))
            return AutoConfig.from_pretrained(local)
    if config.pretrain is not None:
        return model_config(config.pretrain.phases[-1], config.pretrain.vocabulary.size)
    return read_config(config.teacher, place_of(config.teacher))


def asks_hub(config: PipelineConfig, products: Products) -> bool:
    """Whether the teacher's config may have to come from the hub."""
    return not products.teacher.reused and config.pretrain is None and not is_folder(config.teacher)


def _of_the_teacher(config: PipelineConfig, products: Products) -> list[Training]:
    """A pre-training's phases, or an adaptation, where they would run."""
    if products.teacher.reused:
        return []
    found = []
    for number, phase in enumerate(config.pretrain.phases if config.pretrain else (), start=1):
        shape = model_config(phase, config.pretrain.vocabulary.size) if config.pretrain else None
        found.append(
            _training(
                f"pretrain-{number}", phase.train, ALONE, phase.packing, phase.block_length, student=shape, teacher=None
            )
        )
    if config.pretrain is None and config.teacher.adapt_steps:
        adapt = replace(config.teacher.adapt, steps=config.teacher.adapt_steps)
        packing, length = config.tokens.packing, config.tokens.block_length
        teacher = _teacher_config(config, products)
        found.append(_training("adapt", adapt, ALONE, packing, length, student=teacher, teacher=None))
    return found


def _distilling(config: PipelineConfig, products: Products, teacher: Any) -> Training:
    return _training(
        "distil",
        config.distil,
        config.distil.loss_weights(),
        config.tokens.packing,
        config.tokens.block_length,
        student=teacher,
        teacher=teacher,
        layers=family_of(teacher).choose(config.distil.layers, teacher),
        blocks=products.blocks.recorded if products.blocks is not None else None,
    )


def _training(
    what: str,
    train: TrainConfig,
    weights: LossWeights,
    packing: str,
    block_length: int,
    *,
    student: Any,
    teacher: Any,
    layers: tuple[int, ...] | None = None,
    blocks: Blocks | None = None,
) -> Training:
    """`student` is the config of what learns, of which only `layers` count."""
    asked = asked_per_block(student, block_length, train)
    learner, taught_by = forward_of(student, layers), None if teacher is None else forward_of(teacher)
    a_block = block_flops(learner, taught_by, weights, block_length, asked)
    steps = train.steps or (None if blocks is None else train.total_steps(blocks.rows))
    return Training(
        what=what,
        train=train,
        packing=packing,
        flops_per_token=a_block / block_length,
        block_length=block_length,
        steps=steps,
        steps_each=steps,
        tokens=None if steps is None else float(steps * train.global_batch * block_length),
    )


def asked_per_block(config: Any, block_length: int, train: TrainConfig) -> float:
    """Positions of a block at which a token is asked for: on average, where the rate changes."""
    if family_of(config).objective is CAUSAL:
        return block_length - 1
    return mean(masked_per_block(block_length, rate) for rate in ends_of(train.mask_rate))


def _evaluating(config: PipelineConfig, teacher: Any) -> Training:
    """Teacher, student and the student at step 0 over the held-out blocks, on one device."""
    length = config.tokens.block_length
    asked = length - 1 if family_of(teacher).objective is CAUSAL else masked_per_block(length, RATE)
    student = forward_of(teacher, family_of(teacher).choose(config.distil.layers, teacher))
    a_block = forward_of(teacher).over(length, asked) + 2 * student.over(length, asked)
    alone = replace(config.distil, workers=1, compile=False, micro_batch=config.evaluate.micro_batch)
    return Training(
        what="evaluate",
        train=alone,
        packing=config.tokens.packing,
        flops_per_token=a_block / length,
        block_length=length,
        tokens=float(config.evaluate.blocks * length),
        at_most=True,
    )


def _searching(config: PipelineConfig, distil: Training, products: Products) -> Training:
    """All trials, which have a limit, and all runs that confirm, of which a race may need fewer."""
    tune = config.tune
    whole = tune.budget_tokens or (None if distil.tokens is None else distil.tokens / 4)
    runs = tune.spend + tune.confirm_seeds * (1 + CANDIDATES)
    each = None if whole is None else int(whole // (config.distil.global_batch * distil.block_length))
    tokens = None if whole is None else runs * whole
    return replace(distil, what="search", steps=None, steps_each=each, tokens=tokens, at_most=True)
