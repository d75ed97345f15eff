"""The fine-tuned model by hub name or folder, put on storage once, where every machine that teaches reads it."""

from pathlib import Path

from stages.classifier.artifact import Classifier
from stages.classifier.config import SourceConfig
from stages.classifier.fitness import check, head_of, is_of_words, refuse
from stages.context import StageContext, stage
from stages.distillation.models.parts import parameter_count
from stages.tasks.fine_tuning.head import padding_of
from stages.teacher.fitness.weights import loaded, notices
from stages.teacher.opening import opened
from stages.teacher.source import is_folder


@stage(name="classifier", version=1)
def fetch_classifier(config: SourceConfig, context: StageContext) -> Classifier:
    """Load the model with its head and put it on storage, in fp32, with its tokenizer; the hub is asked once.

    A causal model that does not say what padding is learns it from its tokenizer, or it could read no two texts
    together. Raises `InputError` for what `check` refuses, and for weights that do not load.
    """
    check(config)
    teacher = config.as_teacher
    model, info, tokenizer = opened(teacher, lambda found: head_of(found, config.model))
    fit = loaded(info, model.config, head_of(model.config, config.model))
    refuse(fit, model.config, config.model)
    for notice in notices(fit, model.config, config.model):
        context.on_notice(notice)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = padding_of(tokenizer)
    with context.folder.written_locally() as local:
        model.save_pretrained(local)
        tokenizer.save_pretrained(local)
    return Classifier(
        folder=context.folder,
        name=Path(config.model).name if is_folder(teacher) else config.model,
        words=is_of_words(model.config),
        labels=labels_of(model.config),
        layers=model.config.num_hidden_layers,
        parameters=parameter_count(model),
    )


def labels_of(config: object) -> tuple[str, ...]:
    """A model's classes by number."""
    named: dict[int, str] = config.id2label  # type: ignore[attr-defined]
    return tuple(str(named[number]) for number in sorted(named))
