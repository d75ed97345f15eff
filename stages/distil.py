"""Student from teacher, then trained: knowledge distillation during pre-training (DistilBERT, section 3)."""

import json
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import BertForMaskedLM, DistilBertForMaskedLM

from stages.distillation.anatomy import parameter_count
from stages.distillation.losses import LossWeights
from stages.distillation.student import Layers, choose_layers, take_blocks
from stages.errors import ConfigError
from stages.storage import Folder
from stages.teacher import Teacher
from stages.tokens import TOKENIZER_FILES, Blocks
from stages.train import Lesson, TrainConfig, Trained, train
from stages.where import Where, stage

TRAINING_FILE = "training.json"
"""Beside the student's weights: how it was made, a flat object of settings and totals."""


@dataclass(frozen=True, kw_only=True)
class DistilConfig(TrainConfig):
    """How the student learns: the triple loss on top of `TrainConfig`. The defaults are the released DistilBERT's."""

    temperature: float = 2.0
    """T of the softened cross-entropy; 1 is the plain softmax (Hinton et al. 2015, section 2)."""
    alpha_ce: float = 5.0
    """Weight of T² · KL(teacher ‖ student at T)."""
    alpha_mlm: float = 2.0
    """Weight of the masked-LM loss."""
    alpha_cos: float = 1.0
    """Weight of 1 − cosine between the last hidden states."""
    ce_positions: Literal["all", "masked"] = "all"
    """Where the KL term counts: at every position as in the paper, or at masked ones, with no head work elsewhere."""
    layers: Layers = "alternate"
    """Teacher blocks the student starts from: "alternate" (0, 2, 4, …), "released" (0, 2, 4, 7, 9, 11), how many, or
    which."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise ConfigError("distil.temperature", self.temperature, "must be above 0; 2 is the paper's")
        alphas = {name: getattr(self, name) for name in ("alpha_ce", "alpha_mlm", "alpha_cos")}
        for name, value in alphas.items():
            if value < 0:
                raise ConfigError(f"distil.{name}", value, "must not be negative")
        if not any(alphas.values()):
            raise ConfigError("distil.alpha_ce, alpha_mlm, alpha_cos", 0, "must not all be 0; 5, 2, 1 is the paper's")

    def loss_weights(self) -> LossWeights:
        """The part of this config that the loss reads."""
        return LossWeights(
            temperature=self.temperature,
            alpha_ce=self.alpha_ce,
            alpha_mlm=self.alpha_mlm,
            alpha_cos=self.alpha_cos,
            ce_positions=self.ce_positions,
        )


@dataclass(frozen=True, kw_only=True)
class Student:
    """A distilled student on storage, as transformers loads it, tokenizer included."""

    folder: Folder
    start: Folder
    """The same student at step 0: the teacher's blocks, untouched."""
    layers: tuple[int, ...]
    """The teacher blocks that it started from."""
    parameters: int
    steps: int
    tokens: int
    tokens_per_second: float
    seconds: float


@stage(name="distil", version=1)
def distil(config: DistilConfig, teacher: Teacher, blocks: Blocks, where: Where) -> Student:
    """Train a student of `teacher` on `blocks`; continues from the newest whole checkpoint in `where.folder`."""
    layers = choose_layers(config.layers, teacher.layers)
    start, parameters = untouched(config, teacher, layers, where.folder / "start")
    lesson = Lesson(start=start, teacher=teacher.folder, weights=config.loss_weights())
    trained = train(config, lesson, blocks, where)
    student = where.folder / "student"
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


def untouched(config: DistilConfig, teacher: Teacher, layers: tuple[int, ...], target: Folder) -> tuple[Folder, int]:
    """Save the student at step 0, with the teacher's tokenizer; (its folder, its number of parameters)."""
    with teacher.folder.as_local() as source, target.written_locally() as local:
        model = BertForMaskedLM.from_pretrained(source, dtype=torch.float32)
        student = take_blocks(model, layers, dropout=config.dropout)
        student.save_pretrained(local)
        teacher.folder.copy_to(local, TOKENIZER_FILES)
    return target, parameter_count(student)


def about_training(
    config: DistilConfig, teacher: Teacher, blocks: Blocks, layers: tuple[int, ...], trained: Trained
) -> dict[str, str | int | float]:
    """How the student was made, for its model card: settings and totals by name."""
    return {
        "teacher": teacher.name,
        "teacher_layers": ", ".join(map(str, layers)),
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
        "mask_rate": config.mask_rate,
        "mask_smoothing": config.mask_smoothing,
        "precision": config.precision,
    }


def _keep_model(checkpoint: Folder, target: Folder, training: dict[str, str | int | float]) -> None:
    """The checkpoint's model and tokenizer, without what only a training needs, and how it was made beside them."""
    with checkpoint.as_local() as source, target.written_locally() as local:
        DistilBertForMaskedLM.from_pretrained(source, dtype=torch.float32).save_pretrained(local)
        checkpoint.copy_to(local, TOKENIZER_FILES)
        (local / TRAINING_FILE).write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
