"""The teacher: a language model of any family that is known here, by hub name or folder; fetched once, to storage.

The demo's own teacher was pre-trained by `pretrain.py`; here it is one folder among others, named "demo".
"""

from pathlib import Path

import torch

from stages.context import StageContext, stage
from stages.distillation.families.family import LanguageModel
from stages.distillation.families.table import family_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.parts import parameter_count
from stages.models import model_in, save_model
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.examine import examined
from stages.teacher.fitness.preflight import check
from stages.teacher.fitness.weights import initialise_head, loaded, notices, refuse_unfit
from stages.teacher.opening import opened
from stages.teacher.source import is_folder, source_of
from stages.tokens.blocks import Blocks
from stages.tokens.vocabulary import TOKENIZER_FILES
from stages.training.driver import train
from stages.training.job import TrainingTask


@stage(name="teacher", version=1)
def fetch(config: TeacherConfig, context: StageContext) -> Teacher:
    """Load the teacher and put it on storage, in fp32, with its tokenizer; the hub is asked once.

    What is in its files and not in its class is left out, and said. A head that is missing is drawn at random, from the
    seed, where the teacher is about to be adapted.
    """
    check(config)
    torch.manual_seed(context.seed)
    model, info, tokenizer = opened(config, lambda found: family_of(found).objective.auto_class)
    fit = loaded(info, model.config)
    refuse_unfit(fit, model.config, config.model, adapts=config.adapt_steps > 0)
    initialise_head(model, fit, info["missing_keys"], config.model)
    for notice in notices(fit, model.config, config.model):
        context.on_notice(notice)
    with context.folder.written_locally() as local:
        model.save_pretrained(local)
        tokenizer.save_pretrained(local)
    return described(context.folder, model, config.model if not is_folder(config) else Path(source_of(config)).name)


def described(folder: Folder, model: LanguageModel, name: str) -> Teacher:
    """The artifact of a model that was saved in `folder`."""
    family = family_of(model.config)
    return Teacher(
        folder=folder,
        name=name,
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        vocab_size=model.config.vocab_size,
        positions=family.positions(model.config),
        parameters=parameter_count(model),
        objective=family.objective.name,
    )


@stage(name="adapt", version=1)
def adapt(config: TeacherConfig, teacher: Teacher, blocks: Blocks, context: StageContext) -> Teacher:
    """The teacher after `adapt_steps` steps of its own objective on the corpus that it is going to teach."""
    if not context.folder.exists("checkpoints"):
        examined(teacher, blocks)  # for logits that are not finite; it need not be good yet
    weights = LossWeights(alpha_ce=0.0, alpha_mlm=1.0, alpha_cos=0.0)
    task = TrainingTask(start=teacher.folder, teacher=None, weights=weights)
    trained = train(config.adapt, task, blocks, context, steps=config.adapt_steps)
    return trained_teacher(trained.checkpoint, context.folder / "model", f"{teacher.name}, adapted")


def trained_teacher(checkpoint: Folder, target: Folder, name: str) -> Teacher:
    """A training's last checkpoint as a teacher: model and tokenizer without the optimiser."""
    with checkpoint.as_local() as source, target.written_locally() as local:
        model = model_in(source)
        save_model(model, local)
        checkpoint.copy_to(local, TOKENIZER_FILES)
    return described(target, model, name)
