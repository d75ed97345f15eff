"""A language model from a folder, as a training or an evaluation wants it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from stages.distillation.families.family import LanguageModel
from stages.distillation.families.table import family_of
from stages.distillation.hardware import attention_for
from stages.storage import Folder
from stages.tokens.loading import FROM_FILES


def load_model(folder: Folder, dtype: torch.dtype, device: torch.device, dropout: float | None = None) -> LanguageModel:
    """A language model from a transformers folder; `dropout` overrides every dropout in it.

    What no forward pass reads gets no gradient, for which DDP would wait.
    """
    with folder.as_local() as local:
        model = model_in(local, dtype=dtype, attn_implementation=attention_for(device))
    return _made_ready(model, device, dropout)


def model_like(config: Any, dtype: torch.dtype, device: torch.device, dropout: float | None = None) -> LanguageModel:
    """A model as `load_model` gives it, in eval mode as there, of a loaded one's config; its weights are anything."""
    auto_class = family_of(config).objective.auto_class
    model = auto_class.from_config(config, dtype=dtype, attn_implementation=attention_for(device))
    return _made_ready(model.eval(), device, dropout)


def _made_ready(model: LanguageModel, device: torch.device, dropout: float | None) -> LanguageModel:
    if dropout is not None:
        set_dropout(model, dropout)
    for unread, _ in _spare_biases(model):
        unread.requires_grad_(False)
    return model.to(device)


def set_dropout(model: nn.Module, dropout: float) -> None:
    """Every dropout in a model, whatever its config says."""
    modules: Iterator[Any] = model.modules()
    for module in modules:  # attention's too: from an nn.Dropout, but for ModernBERT's
        if isinstance(module, nn.Dropout):
            module.p = dropout
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = dropout


def model_in(folder: str | Path, *, dtype: torch.dtype = torch.float32, **loading: Any) -> LanguageModel:
    """The model in a folder on this machine, with its head, by the class of its family; never from the hub."""
    config = AutoConfig.from_pretrained(folder, **FROM_FILES)
    auto_class = family_of(config).objective.auto_class
    return auto_class.from_pretrained(folder, dtype=dtype, **FROM_FILES, **loading)


def save_model(model: LanguageModel, folder: Path) -> None:
    """As `save_pretrained`, with every bias up to date that older versions of transformers read in another's place."""
    with torch.no_grad():
        for unread, bias in _spare_biases(model):
            unread.copy_(bias)
    model.save_pretrained(folder)


def _spare_biases(model: Any) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """(a bias that no forward pass reads, the decoder's, which is read): some classes have both, and where the decoder
    is not tied they are two."""
    if not model.config.tie_word_embeddings:
        for bias, unread in (model._tied_weights_keys or {}).items():
            if bias.endswith(".bias"):
                yield model.get_parameter(unread), model.get_parameter(bias)


def has_token_types(config: Any) -> bool:
    """Whether a model with this config tells the first of two texts from the second."""
    return getattr(config, "type_vocab_size", 0) > 1
