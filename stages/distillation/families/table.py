"""The families there are, and what is said of models that belong to none."""

from typing import Any

from stages.distillation.families.bert import BERT
from stages.distillation.families.distilbert import DISTILBERT
from stages.distillation.families.electra import ELECTRA
from stages.distillation.families.family import Family
from stages.distillation.families.gpt2 import GPT2
from stages.distillation.families.modernbert import MODERNBERT
from stages.distillation.families.mpnet import MPNET
from stages.distillation.families.roberta import ROBERTA
from stages.errors import InputError

FAMILIES = (BERT, DISTILBERT, ROBERTA, MODERNBERT, GPT2, ELECTRA, MPNET)

_BY_TYPE = {model_type: family for family in FAMILIES for model_type in family.names}
_REASONS = {
    "albert": "one block does the work of all its layers, so there is none to leave out; a BERT has as many as layers",
    "deberta": "its attention reads positions and words apart, which is not built here; RoBERTa is the nearest",
    "deberta-v2": "its attention reads positions and words apart, which is not built here; XLM-R is the nearest",
}
"""By `model_type`: why not, and the nearest that can be."""


def family_of(config: Any) -> Family:
    """The family of a model with this config; `InputError`, with the reason, where there is none."""
    found = _BY_TYPE.get(config.model_type)
    if found is not None:
        return found
    known = ", ".join(name for family in FAMILIES for name in family.names.values())
    reason = _REASONS.get(config.model_type, f"can be distilled are {known}")
    if getattr(config, "is_encoder_decoder", False):
        reason = "it is an encoder and a decoder, and the loss is that of one of them; XLM-R or GPT-2 are the nearest"
    raise InputError(f"teacher.model is of the type {config.model_type}, which cannot be distilled: {reason}.")


def accept(config: Any) -> Family:
    """The family of a teacher with this config, which that family accepts; else `InputError`, with the reason."""
    family = family_of(config)
    family.check(config)
    return family
