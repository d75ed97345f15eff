"""A loss that asks for no teacher has none, and learns what it learned beside one; a head that none asks for stays
unread."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import no_dropout, tiny_batch, tiny_bert
from trainings import CONFIG, Run, assert_bit_identical, here

from stages.distil.config import DistilConfig
from stages.distil.stage import distil
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.parts import decoder
from stages.distillation.models.student import take_blocks
from stages.distillation.step import Counts, DistillationModule
from stages.models import load_model
from stages.teacher.stage import described
from stages.tokens.blocks import Blocks
from stages.training.driver import train
from stages.training.job import TrainingTask

ALONE = LossWeights(alpha_ce=0.0, alpha_mlm=2.0, alpha_cos=0.0)
CLOSE = {"heldout_kl", "heldout_agreement"}


@pytest.mark.parametrize(
    ("alphas", "taught"), [((5, 2, 1), True), ((5, 2, 0), True), ((0, 2, 1), True), ((0, 2, 0), False)]
)
def test_weights_ask_for_a_teacher_where_one_of_its_terms_counts(
    alphas: tuple[float, float, float], taught: bool
) -> None:
    assert LossWeights(alpha_ce=alphas[0], alpha_mlm=alphas[1], alpha_cos=alphas[2]).taught == taught


def test_without_the_kl_term_the_teachers_head_is_not_read() -> None:
    """A head of nothing but NaN would show in every sum and gradient that it has a part in."""
    found = []
    for spoilt in (False, True):
        teacher = tiny_bert(layers=4).requires_grad_(False)
        student = no_dropout(take_blocks(teacher, (0, 2)).requires_grad_(True))
        if spoilt:
            decoder(teacher).weight = torch.nn.Parameter(torch.full_like(decoder(teacher).weight, torch.nan))
        module = DistillationModule(student, LossWeights(alpha_ce=0.0))
        loss, sums = module(tiny_batch(), Counts(positions=96, masked=18), teacher)
        loss.backward()
        found.append([sums, *(parameter.grad for parameter in student.parameters())])
    assert all(torch.equal(whole, other) for whole, other in zip(*found, strict=True))


def test_training_without_a_teacher_learns_bit_for_bit_what_it_learned_beside_one(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    """The same loss with a teacher loaded, that only held-out text is compared with; and with none."""
    runs = [Run(tmp_path / name) for name in ("beside", "alone")]
    for run, teacher in zip(runs, (task.teacher, None), strict=True):
        train(CONFIG, replace(task, teacher=teacher, weights=ALONE), blocks, run.context(), fit=here)
    assert_bit_identical(*runs, CONFIG.steps or 0)
    for (_, beside), (_, alone) in zip(*(run.metrics for run in runs), strict=True):
        assert beside.keys() - alone.keys() == (CLOSE if "heldout_mlm_loss" in beside else set())
        assert all(alone[name] == beside[name] for name in alone if name != "tokens_per_second")


@pytest.mark.timeout(400)
def test_distil_gives_the_training_a_teacher_only_where_a_term_asks_for_one(
    ray_session: None, blocks: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    assert task.teacher is not None
    teacher = described(task.teacher, load_model(task.teacher, torch.float32, torch.device("cpu")), "tiny")
    told = {name: getattr(CONFIG, name) for name in ("global_batch", "micro_batch", "precision", "threads")}
    for alpha_cos, closeness in ((0.0, set()), (1.0, CLOSE)):
        run = Run(tmp_path / str(alpha_cos))
        config = DistilConfig(
            steps=2, evaluate_every=2, evaluate_blocks=4, alpha_ce=0.0, alpha_cos=alpha_cos, layers=(0, 2), **told
        )
        distil(config, teacher, blocks, run.context())
        assert run.metrics[-1][1].keys() & CLOSE == closeness
