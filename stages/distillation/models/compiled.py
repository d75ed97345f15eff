"""The blocks of both models through torch.compile: on a GPU hundreds of small kernels become a few."""

from contextlib import AbstractContextManager

import torch

from stages.distillation.families.family import LanguageModel, blocks_of
from stages.distillation.families.table import family_of


def compile_blocks(model: LanguageModel, backend: str = "inductor") -> None:
    """In place, and when they are first called, which takes some tens of seconds in each process. What they compute is
    the same but for rounding; the names of the weights stay."""
    # Of one function, and for all models of the process: a teacher's and a student's blocks of several kinds and shapes
    # are more than dynamo's own 8, beyond which it would leave blocks uncompiled.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    family = family_of(model.config)
    for module in blocks_of(family, model) if family.compiled is None else family.compiled(model):
        module.compile(backend=backend)


def uncompiled() -> AbstractContextManager[object]:
    """Meanwhile the blocks run as they are written: for shapes that come once, each of which would be compiled anew."""
    return torch.compiler.set_stance("force_eager")
