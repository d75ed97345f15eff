"""Student from teacher, then trained: knowledge distillation during pre-training (DistilBERT, section 3)."""

import json

from stages.context import StageContext, stage
from stages.distil.artifact import TRAINING_FILE, Student
from stages.distil.config import DistilConfig
from stages.distillation.families.table import family_of
from stages.distillation.models.parts import parameter_count
from stages.distillation.models.student import take_blocks
from stages.models import has_token_types, model_in, save_model
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.fitness.examine import TAG, examine
from stages.tokens.blocks import Blocks
from stages.tokens.portable import make_portable
from stages.tokens.vocabulary import TOKENIZER_FILES
from stages.training.driver import Trained, train
from stages.training.job import TrainingTask


@stage(name="distil", version=1)
def distil(config: DistilConfig, teacher: Teacher, blocks: Blocks, context: StageContext) -> Student:
    """Train a student of `teacher` on `blocks`; continues from the newest whole checkpoint in `context.folder`."""
    start, layers, parameters = untouched(config, teacher, blocks, context)
    weights = config.loss_weights()
    # One that no term asks for is neither loaded nor run, not even for held-out text.
    task = TrainingTask(start=start, teacher=teacher.folder if weights.taught else None, weights=weights)
    trained = train(config, task, blocks, context)
    student = context.folder / "student"
    _keep_model(trained.checkpoint, student, about_training(config, teacher, blocks, layers, trained))
    return Student(
        folder=student,
        start=start,
        layers=layers,
        parameters=parameters,
        steps=trained.steps,
        tokens=trained.tokens,
        tokens_per_second=trained.tokens_per_second,
        seconds=trained.seconds,
    )


def untouched(
    config: DistilConfig, teacher: Teacher, blocks: Blocks, context: StageContext
) -> tuple[Folder, tuple[int, ...], int]:
    """Save the student at step 0, with the teacher's tokenizer; (its folder, the teacher's blocks that it starts from,
    its number of parameters).

    The teacher, being loaded, is looked at first, unless a training has begun with it: see `examine`.
    """
    target, begun = context.folder / "start", context.folder.exists("checkpoints")
    with teacher.folder.as_local() as source, target.written_locally() as local:
        model = model_in(source)
        layers = family_of(model.config).choose(config.layers, model.config)
        if not begun and (warning := examine(model, teacher.name, blocks)):
            context.on_notice(warning)
            context.on_tag(TAG, warning)
        student = take_blocks(
            model, layers, dropout=config.dropout, kind=config.student, start=config.start, seed=context.seed
        )
        student.save_pretrained(local)
        teacher.folder.copy_to(local, TOKENIZER_FILES)
        make_portable(local, token_types=has_token_types(student.config))
    return target, layers, parameter_count(student)


def about_training(
    config: DistilConfig, teacher: Teacher, blocks: Blocks, layers: tuple[int, ...], trained: Trained
) -> dict[str, str | int | float]:
    """How the student was made, for its model card: settings and totals by name."""
    return {
        "teacher": teacher.name,
        "teacher_layers": "none" if config.start == "random" else ", ".join(map(str, layers)),
        **({} if config.start == "teacher" else {"start": config.start}),
        "temperature": config.temperature,
        "alpha_ce": config.alpha_ce,
        "alpha_mlm": config.alpha_mlm,
        "alpha_cos": config.alpha_cos,
        "ce_positions": config.ce_positions,
        "steps": trained.steps,
        "global_batch": config.global_batch,
        "block_length": blocks.block_length,
        "tokens": trained.tokens,
        "learning_rate": config.learning_rate,
        "dropout": config.dropout,
        **({} if blocks.vocabulary.causal else _masking(config, blocks)),
        "precision": config.precision,
    }


def _masking(config: DistilConfig, blocks: Blocks) -> dict[str, str | int | float]:
    return {
        "mask_rate": " to ".join(map(str, rate)) if isinstance(rate := config.mask_rate, tuple) else rate,
        "mask_unit": blocks.mask_unit,
        "mask_smoothing": config.mask_smoothing,
    }


def _keep_model(checkpoint: Folder, target: Folder, training: dict[str, str | int | float]) -> None:
    """The checkpoint's model and tokenizer, without what only a training needs, and how it was made beside them."""
    with checkpoint.as_local() as source, target.written_locally() as local:
        save_model(model_in(source), local)
        checkpoint.copy_to(local, TOKENIZER_FILES)
        (local / TRAINING_FILE).write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
