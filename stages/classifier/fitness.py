"""Whether a model can be made smaller for its task: all that can be known from its files, before anything runs."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from stages.classifier.config import SourceConfig
from stages.distillation.families.table import accept
from stages.errors import InputError
from stages.teacher.fitness.preflight import check_folder, read_config
from stages.teacher.fitness.weight_files import shapes_in, shapes_on_hub
from stages.teacher.fitness.weights import Fit, check_shape, compare, refuse_unfit
from stages.teacher.source import first_line, is_folder, place_of, unreachable
from stages.tokens.loading import load_tokenizer

WORDS = "ForTokenClassification"
HEADS: dict[str, Any] = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    WORDS: AutoModelForTokenClassification,
}
"""By how the class ends that a model was saved as."""


def check(config: SourceConfig) -> Any:
    """The model's config, read before anything expensive; raises `InputError` where it cannot be made smaller.

    Refused, by name: a folder that is not there or no whole model, a head that is none for classes or numbers, a kind
    of model that is not known here, weights that are not those of its config, a tokenizer that does not fit.
    `fetch_classifier` looks once more at what was loaded.
    """
    teacher = config.as_teacher
    check_there(config)
    folder = place_of(teacher)
    found = read_config(teacher, folder)
    head = head_of(found, config.model)
    accept(found)
    check_shape(found, config.model)
    shapes = shapes_on_hub(config.model, config.revision) if folder is None else shapes_in(folder)
    if shapes is not None:
        refuse(compare(shapes, found, head), found, config.model)
    _check_tokenizer(config, folder, found)
    return found


def check_there(config: SourceConfig) -> None:
    """Raise `InputError` for a folder that has not all the files of a model; of the hub nothing is asked."""
    if is_folder(config.as_teacher):
        check_folder(Path(config.model).expanduser())


def head_of(config: Any, model: str) -> Any:
    """Of transformers' auto classes the one that loads a model with this config under its head; raises `InputError`
    where that head is none for classes or numbers."""
    name = (config.architectures or [""])[0]
    found = next((auto for end, auto in HEADS.items() if name.endswith(end)), None)
    if found is None:
        raise InputError(no_head(config, model))
    if getattr(config, "problem_type", None) == "multi_label_classification":
        raise InputError(
            f"teacher.model {model} gives a text any number of labels at once (problem_type in its config.json), and a "
            "task has one for each; choose a model of one label."
        )
    return found


def is_of_words(config: Any) -> bool:
    """Whether a model with this config gives a class to every word."""
    return bool(config.architectures) and config.architectures[0].endswith(WORDS)


def no_head(config: Any, model: str) -> str:
    """What is said of a model that was fine-tuned for no such task."""
    kind = f", saved as a {config.architectures[0]}," if config.architectures else ""
    return (
        f"teacher.model {model}{kind} has no head for classes or a number, so that there is no task to make it smaller "
        "for; fine-tune it first, or distil the language model with `distil run`."
    )


def refuse(fit: Fit, config: Any, model: str) -> None:
    """Raise `InputError` where `from_pretrained` would make up a part of the model, its head first of all."""
    if fit.head & set(fit.missing):
        raise InputError(no_head(config, model))
    refuse_unfit(fit, config, model, adapts=True)


def _check_tokenizer(config: SourceConfig, folder: Path | None, found: Any) -> None:
    try:
        tokenizer = load_tokenizer(folder or config.model, config.revision)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(unreachable(config.as_teacher, error)) from error
    except Exception as error:
        if type(error) is not Exception:  # the class that tokenizers raises
            raise
        raise InputError(
            f"the tokenizer's files of teacher.model {config.model} are damaged ({first_line(error)})."
        ) from error
    if not tokenizer.is_fast:
        raise InputError(
            f"teacher.model {config.model} has a slow tokenizer, a {type(tokenizer).__name__}; save its fast one "
            "(tokenizer.json) beside it."
        )
    size = max(tokenizer.get_vocab().values(), default=0) + 1
    if size > found.vocab_size:
        raise InputError(
            f"the vocabulary does not match: teacher.model {config.model} has {found.vocab_size:,} embeddings and its "
            f"tokenizer needs {size:,}; save the tokenizer that belongs to the model."
        )
