"""Whether a teacher's weights are the model that its config describes: known by name and shape, before anything runs.

`from_pretrained` fills up at random what the files lack, and goes on. The names and shapes in the files are compared
with those of a model built on the meta device, where it takes no memory.
"""

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM
from transformers.activations import ACT2FN

from stages.errors import InputError
from stages.teacher.weight_files import Shape

_TRANSFORM = "cls.predictions.transform"
HEAD = (
    "cls.predictions.bias",
    f"{_TRANSFORM}.dense.weight",
    f"{_TRANSFORM}.dense.bias",
    f"{_TRANSFORM}.LayerNorm.weight",
    f"{_TRANSFORM}.LayerNorm.bias",
)
"""What the masked-LM head has of its own, its decoder being the word embeddings."""
_TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
_SIZES = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size"
)
_NOT_OF_THE_TEACHER = re.compile(r"^(bert\.)?pooler\.|^cls\.seq_relationship\.|(^|\.)position_ids$")
"""Pooler, next-sentence head and a buffer of older versions: most files have them, and no masked LM reads them."""
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How weight files differ from the model that a config describes."""

    missing: tuple[str, ...]
    """What the model needs and the files lack, but for what is tied to something they have."""
    misfits: tuple[tuple[str, Shape, Shape], ...]
    """(name, shape in the files, shape by the config)."""
    surplus: tuple[str, ...]
    """What the files have and the model does not."""

    @property
    def headless(self) -> bool:
        """Whether the masked-LM head is missing as a whole, as in a model saved as BertModel."""
        return set(HEAD) <= set(self.missing)


def check_shape(config: BertConfig, model: str) -> None:
    """Raise `InputError` where no model can be built as `config` says; `model` is what it is called in the message."""
    place = f"the config.json of teacher.model {model}"
    for name in _SIZES.split():
        if getattr(config, name) < 1:
            raise InputError(f"{place} has {name} {getattr(config, name)}, which must be above 0.")
    width, heads = config.hidden_size, config.num_attention_heads
    if width % heads:
        raise InputError(
            f"{place} has hidden_size {width} and {heads} attention heads, which do not divide it; "
            "correct num_attention_heads."
        )
    if config.hidden_act not in ACT2FN:
        raise InputError(f"{place} has hidden_act {config.hidden_act!r}, which transformers does not know.")
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < config.vocab_size:
        raise InputError(
            f"{place} has pad_token_id {config.pad_token_id}, which must be below its vocab_size {config.vocab_size}."
        )


def compare(shapes: Mapping[str, Shape], config: BertConfig) -> Fit:
    """What the weights of these shapes are to the model that `config` describes."""
    with torch.device("meta"):
        model = BertForMaskedLM(copy.deepcopy(config))
    wanted = {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}
    found = {_renamed(name, wanted): shape for name, shape in shapes.items()}
    misfits = ((name, found[name], shape) for name, shape in wanted.items() if found.get(name, shape) != shape)
    return _fit(
        config,
        missing=[name for name in wanted if name not in found],
        misfits=misfits,
        surplus=[name for name in found if name not in wanted],
    )


def loaded(info: Mapping[str, Any], config: BertConfig) -> Fit:
    """The same by what `from_pretrained` says of its loading (`output_loading_info`)."""
    misfits = ((name, tuple(here), tuple(wanted)) for name, here, wanted in sorted(info["mismatched_keys"]))
    return _fit(config, missing=sorted(info["missing_keys"]), misfits=misfits, surplus=sorted(info["unexpected_keys"]))


def _fit(
    config: BertConfig, *, missing: Sequence[str], misfits: Iterable[tuple[str, Shape, Shape]], surplus: Iterable[str]
) -> Fit:
    """With what is lent by its tied partner left out, either way round; the two biases, whatever the config ties, are
    one and the same in every BERT."""
    pairs = [pair for pair in _TIED.items() if config.tie_word_embeddings or pair[0].endswith(".bias")]
    partner = dict(pairs) | {source: target for target, source in pairs}
    return Fit(
        missing=tuple(name for name in missing if name not in partner or partner[name] in missing),
        misfits=tuple(misfits),
        surplus=tuple(name for name in surplus if not _NOT_OF_THE_TEACHER.search(name)),
    )


def _renamed(name: str, wanted: Mapping[str, Shape]) -> str:
    """As `from_pretrained` reads it: TensorFlow's words for a LayerNorm's two vectors, and a body saved by itself."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"bert.{name}" if f"bert.{name}" in wanted else name


def refuse_unfit(fit: Fit, config: BertConfig, model: str, *, adapts: bool) -> None:
    """Raise `InputError` where `from_pretrained` would make up a part of the model, and name it.

    A masked-LM head that is missing as a whole is allowed where the teacher `adapts`: it learns one then.
    """
    missing = [name for name in fit.missing if not (fit.headless and name.startswith("cls.predictions."))]
    if missing:
        raise InputError(
            f"teacher.model {model} lacks {len(missing)} of the weights that its config.json asks for "
            f"({listed(missing)}); give a whole BERT with the config.json that belongs to it."
        )
    if fit.misfits:
        name, here, wanted = fit.misfits[0]
        others = f", and {len(fit.misfits) - 1} more do not fit" if len(fit.misfits) > 1 else ""
        raise InputError(
            f"the weights of teacher.model {model} do not fit its config.json: {name} is {here} and should be {wanted}"
            f"{others}; give the config.json that belongs to them."
        )
    if fit.headless and not adapts:
        raise InputError(no_head(config, model))


def no_head(config: BertConfig, model: str) -> str:
    """What is said of a model without a masked-LM head."""
    kind = f", saved as a {config.architectures[0]}," if config.architectures else ""
    return (
        f"teacher.model {model}{kind} has no masked-LM head (cls.predictions.transform is missing); choose one saved "
        "as BertForMaskedLM, or let it learn a head with teacher.adapt_steps above 0."
    )


def notices(fit: Fit, model: str) -> Iterator[str]:
    """What a person should know of a model that is taken all the same."""
    if fit.surplus:
        yield (
            f"teacher.model {model} has {len(fit.surplus)} weights that are no part of a BERT of its config and are "
            f"left out: {listed(fit.surplus)}."
        )
    if fit.headless:
        yield (
            f"teacher.model {model} has no masked-LM head: one starts from random weights, its decoder tied to the "
            "word embeddings, and learns during teacher.adapt_steps."
        )


@torch.no_grad()
def initialise_head(model: BertForMaskedLM, fit: Fit, missing: Collection[str], called: str) -> None:
    """Put right, in place, what `from_pretrained` leaves open in a head; `missing`: the names that the files lack.

    Raises `InputError` where a decoder that should be tied has weights of its own: older versions of transformers pass
    over them, newer ones do not.
    """
    head, words = model.cls.predictions, model.bert.embeddings.word_embeddings
    if fit.headless:
        model.config.tie_word_embeddings = True
        head.decoder.weight, head.decoder.bias = words.weight, head.bias
    elif "cls.predictions.decoder.bias" in missing and not model.config.tie_word_embeddings:
        head.decoder.bias.copy_(head.bias)  # older versions saved one of the two: they were always the same
    if model.config.tie_word_embeddings and head.decoder.weight is not words.weight:
        raise InputError(
            f"the config.json of teacher.model {called} ties the decoder to the word embeddings but its weights have "
            "other values for it; set tie_word_embeddings to false there, or leave cls.predictions.decoder.weight out."
        )


def listed(names: Sequence[str]) -> str:
    """The first few of many names, and how many there are beside them."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
