"""The publish stage: the student as a folder that anyone loads with transformers and nothing else."""

import json
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stages.context import StageContext, stage
from stages.distil.artifact import TRAINING_FILE, Student
from stages.distillation.families.table import family_of
from stages.evaluation.artifact import Report
from stages.models import has_token_types, model_in
from stages.publish.artifact import Published
from stages.publish.config import PublishConfig
from stages.publish.model_card import NO_TASKS, Training, model_card, read_training
from stages.publish.written import Loaded, verified
from stages.tasks.artifact import TaskTable
from stages.tokens.loading import load_tokenizer
from stages.tokens.portable import make_portable


@stage(name="publish", version=1)
def publish(
    config: PublishConfig, student: Student, report: Report, tasks: TaskTable | None, context: StageContext
) -> Published:
    """Write weights (fp32 safetensors), config, tokenizer and model card, and load them again before calling it done.

    Raises RuntimeError where what was written does not load as what it was.
    """
    target = context.folder / "model"
    target.remove()
    with student.folder.as_local() as source, target.written_locally() as folder:
        model, tokenizer = _load(source)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        make_portable(folder, token_types=has_token_types(model.config))
        training = read_training(source)
        card = _card(config, student, report, tasks, training, model, tokenizer)
        (folder / "README.md").write_text(card, encoding="utf-8")
        if training:
            (folder / TRAINING_FILE).write_text(json.dumps(dict(training), indent=2) + "\n", encoding="utf-8")
        return verified(folder, (model, tokenizer), _load, target=target)


def _load(folder: Path) -> Loaded:
    """Model in fp32 and eval mode, and tokenizer; from this folder alone, never from the hub."""
    return model_in(folder).eval(), load_tokenizer(folder)


def _card(
    config: PublishConfig,
    student: Student,
    report: Report,
    tasks: TaskTable | None,
    training: Training,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> str:
    """README.md."""
    return model_card(
        name=config.name,
        license=config.license,
        language=config.language,
        datasets=config.datasets,
        description=config.description,
        config=model.config,
        mask_token=str(tokenizer.mask_token),
        positions=family_of(model.config).positions(model.config),
        student=student,
        report=report,
        training=training,
        tasks=NO_TASKS if tasks is None else tasks.by_name(),
    )
