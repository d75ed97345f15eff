"""A model with a new head for a task, from a folder that holds one with a head over its vocabulary."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from stages.distillation.families.family import CAUSAL
from stages.distillation.families.table import family_of
from stages.models import set_dropout
from stages.tasks.task import Kind
from stages.tokens.loading import FROM_FILES

_CLASSES: dict[Kind, Any] = {
    "classes": AutoModelForSequenceClassification,
    "number": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "spans": AutoModelForQuestionAnswering,
}


def with_head(
    folder: Path, kind: Kind, classes: tuple[str, ...], *, pad: int, seed: int, dropout: float, device: torch.device
) -> PreTrainedModel:
    """The body in `folder` under the head that its own class has for such a task, drawn anew by `seed`, in fp32; a head
    that lies there already, for as many outputs, is taken.

    `pad`: the id that padding has, by which a causal model knows where a text ends.
    """
    labels: dict[str, Any] = {}
    if kind in ("classes", "tokens"):
        labels = {
            "id2label": dict(enumerate(classes)),
            "label2id": {name: number for number, name in enumerate(classes)},
        }
    elif kind == "number":
        labels = {"num_labels": 1}
    torch.manual_seed(seed)
    with _without_a_word():  # that the head is new is what is wanted
        model = _CLASSES[kind].from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="sdpa" if device.type == "cuda" else "eager",
            pad_token_id=pad,
            **labels,
            **FROM_FILES,
        )
    set_dropout(model, dropout)
    return model.to(device)


def padding_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that padding has; of a tokenizer without any, that of what ends a text."""
    found = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return 0 if found is None else int(found)


def reading_of(folder: Path, wanted: int) -> dict[str, Any]:
    """How the model in `folder` reads examples, for `inputs_of`: at most the tokens wanted, as far as it has
    positions."""
    config = AutoConfig.from_pretrained(folder, **FROM_FILES)
    family = family_of(config)
    return {"longest": min(wanted, family.positions(config)), "causal": family.objective is CAUSAL}


@contextmanager
def _without_a_word() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
