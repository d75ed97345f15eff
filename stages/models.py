"""A masked language model from a folder, as a training or an evaluation wants it."""

import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from stages.distillation.hardware import attention_for
from stages.distillation.models.family import MaskedLM
from stages.storage import Folder


def load_model(folder: Folder, dtype: torch.dtype, device: torch.device, dropout: float | None = None) -> MaskedLM:
    """A masked language model from a transformers folder; `dropout` overrides every dropout in it."""
    with folder.as_local() as local:
        model = AutoModelForMaskedLM.from_pretrained(local, dtype=dtype, attn_implementation=attention_for(device))
    if dropout is not None:
        for module in model.modules():  # attention's too: both classes read its probability from an nn.Dropout
            if isinstance(module, nn.Dropout):
                module.p = dropout
    return model.to(device)
