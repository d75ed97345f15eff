"""What a student starts from, where that is not wholly its teacher: to find out what the teacher's weights do."""

import copy
from typing import Any, Literal

import torch

from stages.distillation.families.family import LanguageModel
from stages.distillation.families.table import family_of
from stages.distillation.models.layers import Start
from stages.errors import ConfigError


def check_start(start: Start, teacher: Any, kind: Literal["auto", "same"]) -> None:
    """Raise `ConfigError` where a teacher with this config has nothing that `start` would leave out. `kind`: the
    student's class, as `take_blocks` takes it."""
    family = family_of(teacher)
    if start == "unfolded" and (kind == "same" or not family.folds(teacher)):
        rule = "is for a BERT's student that is a DistilBERT, which has no token types of its own"
        raise ConfigError("distil.start", start, rule)
    if start == "random_head" and not family.has_head and teacher.tie_word_embeddings:
        rule = f"leaves nothing out: the head of this {family.called(teacher)} is its embeddings"
        raise ConfigError("distil.start", start, rule)


def started(student: LanguageModel, teacher: LanguageModel, start: Start, seed: int) -> LanguageModel:
    """A student made of its teacher, with what `start` says in the place of what was the teacher's; drawn by `seed`."""
    if start == "teacher":
        return student
    if start == "random":
        return initialised(student, seed)
    if start == "random_head":
        take_head(initialised(student, seed), student)
        return student
    unfold = family_of(teacher.config).unfold
    assert unfold is not None, "`check_start` has been asked"
    unfold(teacher, student)
    return student


def initialised(like: LanguageModel, seed: int) -> LanguageModel:
    """A model with the same config, in fp32, whose weights are drawn as transformers draws its class's; the same seed,
    the same weights, and torch's own generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made: LanguageModel = type(like)(copy.deepcopy(like.config)).float()
    return made


@torch.no_grad()
def take_head(source: LanguageModel, target: LanguageModel) -> None:
    """Copy the head: every parameter that is none of the body's. So a decoder that is tied to the embeddings stays."""
    body = {id(parameter) for parameter in target.base_model.parameters()}
    for name, parameter in target.named_parameters():
        if id(parameter) not in body:
            parameter.copy_(source.get_parameter(name))
