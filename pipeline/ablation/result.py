"""What an ablation came to: a row a variant, as ablation.json has it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from pipeline.ablation.interval import Difference, difference
from pipeline.ablation.plan import LeftOut, Plan, Planned, changes
from pipeline.ablation.variants import By
from pipeline.config.overrides import Scalar
from stages.distil.artifact import Student
from stages.evaluation.artifact import Predicts, Report

FILE = "ablation.json"
"""In the workdir: the newest ablation there."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training that is over: its student, and how good that is."""

    seed: int
    student: Student
    report: Report


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant, or the recipe itself, on all seeds."""

    name: str
    by: By
    what: str
    changes: Mapping[str, Scalar]
    """The fields that differ from the recipe's, by their dotted paths."""
    tokens: int
    """That a student learned from."""
    losses: tuple[float, ...]
    """On held-out text, in nats, by seed; fewer where a training did not come to its end."""
    top1: tuple[float, ...]
    """Share of the tokens that are ranked first, by seed."""
    difference: Difference | None = None
    """Of the loss, from the recipe's; None of the recipe itself, and where a training did not come to its end."""
    why: str = ""
    """Why one did not."""

    @property
    def loss(self) -> float:
        """The mean over seeds."""
        return fmean(self.losses)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """All rows, the recipe's first."""

    recipe: str
    objective: Predicts
    seeds: tuple[int, ...]
    heldout_digest: str
    heldout_tokens: int
    packing: str
    """That every student was scored in."""
    mlflow_run_id: str
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...] = field(default=())


def block_losses(report: Report) -> NDArray[np.float64]:
    """The student's mean loss of each held-out block, (B,)."""
    return np.load(io.BytesIO(report.folder.read_bytes("losses.npz")))["student"].astype(np.float64)


def concluded(
    plan: Plan, made: Mapping[str, Sequence[Trained]], failed: Mapping[str, str], seeds: tuple[int, ...], run_id: str
) -> Ablation:
    """The rows of what was `made`, by variant and in the order of `seeds`; `failed` has why of those that were not."""
    recipe = plan.trained[0]
    own = made[recipe.variant.name]
    reference = np.stack([block_losses(one.report) for one in own])
    rows = []
    for one in plan.trained:
        name, apart = one.variant.name, None
        if one is not recipe and name not in failed:
            apart = difference(np.stack([block_losses(seed.report) for seed in made[name]]), reference)
        rows.append(_row(one, recipe, made.get(name, ()), apart, failed.get(name, "")))
    measured = own[0].report
    return Ablation(
        recipe=recipe.config.name,
        objective=measured.objective,
        seeds=seeds,
        heldout_digest=measured.heldout_digest,
        heldout_tokens=measured.heldout_tokens,
        packing=recipe.config.tokens.packing,
        mlflow_run_id=run_id,
        rows=tuple(rows),
        left_out=plan.left_out,
    )


def _row(one: Planned, recipe: Planned, made: Sequence[Trained], apart: Difference | None, why: str) -> Row:
    return Row(
        name=one.variant.name,
        by=one.variant.by,
        what=one.variant.what,
        changes=changes(one.config, recipe.config),
        tokens=made[0].student.tokens if made else 0,
        losses=tuple(seed.report.student.mlm_loss for seed in made),
        top1=tuple(seed.report.student.top1 for seed in made),
        difference=apart,
        why=why,
    )
