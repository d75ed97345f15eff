"""Whether a model can be a teacher: all that can be known from its files, before anything expensive."""

import json
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from transformers import AutoConfig

from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import accept, family_of
from stages.errors import InputError
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.weight_files import WEIGHTS, refuse_pointer, shapes_in, shapes_on_hub
from stages.teacher.fitness.weights import check_shape, compare, no_head, refuse_unfit
from stages.teacher.source import first_line, is_folder, place_of, source_of, unreachable
from stages.tokens.loading import load_tokenizer, own_file
from stages.tokens.vocabulary import special_tokens, vocabulary_of

_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
"""What a tokenizer may lie in; of the latter ones transformers makes a fast one, where it can."""
_READ = ("config.json", "tokenizer_config.json", "merges.txt", *_TOKENIZERS)
"""What is read of a folder beside its weights."""
_HEADLESS = re.compile(
    r"((?<!Head)(?<!DoubleHeads)Model|ForSequenceClassification|ForTokenClassification|ForQuestionAnswering)$"
)
"""Classes of transformers without a head that predicts tokens; they count only where no weights can be looked at."""


def check(config: TeacherConfig) -> Any:
    """The teacher's config, read before anything expensive; `InputError` where it can be no teacher.

    Refused, by name: a folder that is not there or no model of a known family, one without tokenizer or weights, files
    that cannot be read, weights that are not those of its config, a vocabulary that does not match, and whatever no
    student can be made of. `fetch` looks once more at what was loaded.
    """
    if is_folder(config):
        check_folder(Path(source_of(config)).expanduser())
    folder = place_of(config)
    found = read_config(config, folder)
    accept(found)
    check_shape(found, config.model)
    _check_weights(config, folder, found)
    _check_vocabulary(config, folder, found)
    return found


def read_config(config: TeacherConfig, folder: Path | None) -> Any:
    """The model's own config, from where `place_of` says it is; raises `InputError` where nobody gives it."""
    try:
        return AutoConfig.from_pretrained(folder or config.model, revision=config.revision, trust_remote_code=False)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise InputError(unreachable(config, error)) from error


def check_folder(folder: Path) -> None:
    """Raise `InputError` where a folder has not all the files of a model, or some that are none."""
    if not folder.is_dir():
        raise InputError(f"teacher.model {folder} is no folder; give a folder with config.json, or a hub name.")
    there = {path.name for path in folder.iterdir()}
    if "config.json" not in there:
        raise InputError(f"teacher.model {folder} has no config.json; give a folder that save_pretrained wrote.")
    if not there & set(WEIGHTS):
        raise InputError(f"teacher.model {folder} has no weights (model.safetensors); give a whole saved model.")
    if not there & set(_TOKENIZERS):
        raise InputError(
            f"teacher.model {folder} has no tokenizer (tokenizer.json); save the teacher's own tokenizer beside it."
        )
    for name in _READ:
        if name in there:
            refuse_pointer(folder / name)
    if "tokenizer.json" in there:
        try:
            Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the class that tokenizers raises
            what = f"is damaged, cut off or no tokenizer ({first_line(error)})"
            raise InputError(f"{folder / 'tokenizer.json'} {what}; save the teacher's own beside it.") from error


def _check_weights(config: TeacherConfig, folder: Path | None, found: Any) -> None:
    """The weights must be those of the config, all of them; only headers are read."""
    shapes = shapes_on_hub(config.model, config.revision) if folder is None else shapes_in(folder)
    adapts = config.adapt_steps > 0
    if shapes is not None:
        refuse_unfit(compare(shapes, found), found, config.model, adapts=adapts)
    elif not adapts and any(_HEADLESS.search(name) for name in found.architectures or []):
        raise InputError(no_head(found, config.model))


def _check_vocabulary(config: TeacherConfig, folder: Path | None, found: Any) -> None:
    """The tokenizer must be fast, have the special tokens that its objective needs, and no id beyond the embeddings."""
    source = folder or config.model
    try:
        tokenizer = load_tokenizer(source, config.revision)
    except (OSError, ValueError, ImportError) as error:
        if folder is not None and not (folder / "tokenizer.json").is_file():
            raise InputError(_slow(config.model, folder, first_line(error))) from error
        raise InputError(unreachable(config, error)) from error
    except Exception as error:
        if type(error) is not Exception:  # the class that tokenizers raises
            raise
        raise InputError(
            f"the tokenizer's files of teacher.model {config.model} are damaged ({first_line(error)})."
        ) from error
    if not tokenizer.is_fast:
        raise InputError(_slow(config.model, None, f"it is a {type(tokenizer).__name__}"))
    vocabulary, causal = _own_words(source, config.revision), family_of(found).objective is CAUSAL
    if vocabulary is not None:
        for role, token in special_tokens(tokenizer).items():
            if token not in vocabulary:  # transformers makes up what a class ought to have, with an id of its own
                setattr(tokenizer, f"{role}_token", None)
    size = vocabulary_of(tokenizer, causal=causal).size
    if size > found.vocab_size:
        raise InputError(
            f"the vocabulary does not match: teacher.model {config.model} has {found.vocab_size:,} embeddings "
            f"and its tokenizer needs {size:,}, its largest id and one; save the tokenizer that belongs to the model."
        )


def _own_words(source: str | Path, revision: str) -> Collection[str] | None:
    """The words and special tokens that a tokenizer's own files have; None where that cannot be read from them."""
    if (file := own_file(source, "tokenizer.json", revision)) is not None:
        return Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    if (file := own_file(source, "vocab.txt", revision)) is not None:
        return set(file.read_text(encoding="utf-8").splitlines())
    if (file := own_file(source, "vocab.json", revision)) is not None:
        return json.loads(file.read_bytes())
    return None


def _slow(model: str, folder: Path | None, why: str) -> str:
    if folder is not None and any(folder.glob("*.model")) and find_spec("sentencepiece") is None:
        why = "that takes sentencepiece: pip install sentencepiece"
    return (
        f"teacher.model {model} has no tokenizer.json, and transformers makes none of its slow tokenizer here ({why}); "
        "save its fast tokenizer beside it."
    )
