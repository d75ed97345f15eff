"""The blocks of both models through torch.compile: on a GPU hundreds of small kernels become a few."""

from contextlib import AbstractContextManager

import torch
from transformers import BertForMaskedLM

from stages.distillation.models.family import MaskedLM


def compile_blocks(model: MaskedLM, backend: str = "inductor") -> None:
    """In place, and when they are first called, which takes some tens of seconds in each process. What they compute is
    the same but for rounding; the names of the weights stay."""
    blocks = model.bert.encoder if isinstance(model, BertForMaskedLM) else model.distilbert.transformer
    blocks.compile(backend=backend)


def uncompiled() -> AbstractContextManager[object]:
    """Meanwhile the blocks run as they are written: for shapes that come once, each of which would be compiled anew."""
    return torch.compiler.set_stance("force_eager")
