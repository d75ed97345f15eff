"""A model with whatever head it has, and its tokenizer, from a folder or the hub, as transformers loads them."""

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from stages.errors import InputError
from stages.teacher.config import TeacherConfig
from stages.teacher.source import place_of, unreachable
from stages.tokens.loading import load_tokenizer


def opened(
    config: TeacherConfig, class_of: Callable[[Any], Any]
) -> tuple[PreTrainedModel, dict[str, Any], PreTrainedTokenizerBase]:
    """(the model in fp32, its loading info, its tokenizer); `class_of` gives the auto class for the model's config.

    Weights of other shapes than the config's are in the info, to be refused by who asks. Raises `InputError` where the
    files do not load, or nobody gives them.
    """
    source = place_of(config) or config.model
    from_there: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    try:
        found = AutoConfig.from_pretrained(source, **from_there)
        model, info = class_of(found).from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **from_there
        )
        return model, info, load_tokenizer(source, config.revision)
    except (OSError, ValueError, SafetensorError, UnpicklingError, EOFError) as error:
        if isinstance(error, InputError):  # of a class that is refused by name
            raise
        raise InputError(unreachable(config, error)) from error
