"""A masked language model from a folder, as a training or an evaluation wants it, and its tokenizer."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerBase

from stages.distillation.hardware import attention_for
from stages.distillation.models.family import MaskedLM
from stages.storage import Folder
from stages.tokens.portable import LENGTHS, TRACES


def load_model(folder: Folder, dtype: torch.dtype, device: torch.device, dropout: float | None = None) -> MaskedLM:
    """A masked language model from a transformers folder; `dropout` overrides every dropout in it."""
    with folder.as_local() as local:
        model = AutoModelForMaskedLM.from_pretrained(local, dtype=dtype, attn_implementation=attention_for(device))
    if dropout is not None:
        for module in model.modules():  # attention's too: both classes read its probability from an nn.Dropout
            if isinstance(module, nn.Dropout):
                module.p = dropout
    return model.to(device)


def load_tokenizer(source: str | Path, revision: str = "main") -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, or of a model on the hub: without the padding and truncation that may have been saved
    with it, and without what transformers notes of the loading and would save with it again."""
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, local_files_only=Path(source).is_dir())
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
    for name in (*TRACES, *LENGTHS):
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer
