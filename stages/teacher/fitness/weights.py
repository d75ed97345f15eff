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
from transformers.activations import ACT2FN

from stages.distillation.families.table import family_of
from stages.errors import InputError
from stages.teacher.fitness.weight_files import Shape

_SIZES = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size"
)
_ACTIVATIONS = ("hidden_act", "hidden_activation", "classifier_activation", "activation_function", "activation")
_UNREAD = re.compile(
    r"(^|\.)pooler\.|^cls\.seq_relationship\.|(^|\.)position_ids$|\.attn\.(masked_)?bias$|^discriminator_predictions\."
)
"""Pooler, next-sentence head, ELECTRA's other head, and buffers of older versions: many files have them, and nothing
that predicts tokens reads them."""
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

    head: frozenset[str]
    """What the model's head has of its own; empty where it is nothing but the word embeddings."""
    lent: frozenset[str]
    """What the head has from elsewhere, where weights are tied."""

    @property
    def headless(self) -> bool:
        """Whether the head is missing as a whole, as in a model saved as BertModel."""
        return bool(self.head) and self.head <= set(self.missing)


def check_shape(config: Any, model: str) -> None:
    """Raise `InputError` where no model can be built as `config` says; `model` is what it is called in the message."""
    place = f"the config.json of teacher.model {model}"
    for name in _SIZES.split():
        size = getattr(config, name, None)
        if size is not None and size < 1:
            raise InputError(f"{place} has {name} {size}, which must be above 0.")
    width, heads = config.hidden_size, config.num_attention_heads
    if width % heads:
        raise InputError(
            f"{place} has hidden_size {width} and {heads} attention heads, which do not divide it; "
            "correct num_attention_heads."
        )
    for name in _ACTIVATIONS:
        if (activation := getattr(config, name, None)) is not None and activation not in ACT2FN:
            raise InputError(f"{place} has {name} {activation!r}, which transformers does not know.")
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < config.vocab_size:
        raise InputError(
            f"{place} has pad_token_id {config.pad_token_id}, which must be below its vocab_size {config.vocab_size}."
        )


def compare(shapes: Mapping[str, Shape], config: Any, auto_class: Any = None) -> Fit:
    """What the weights of these shapes are to the model that `config` describes, with the head of transformers'
    `auto_class`; None: the one of its family's objective."""
    model = _empty(config, auto_class)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}
    found = {_renamed(name, f"{model.base_model_prefix}.", wanted): shape for name, shape in shapes.items()}
    misfits = ((name, found[name], shape) for name, shape in wanted.items() if found.get(name, shape) != shape)
    return _fit(
        model,
        missing=[name for name in wanted if name not in found],
        misfits=misfits,
        surplus=[name for name in found if name not in wanted],
    )


def loaded(info: Mapping[str, Any], config: Any, auto_class: Any = None) -> Fit:
    """The same by what `from_pretrained` says of its loading (`output_loading_info`)."""
    misfits = ((name, tuple(here), tuple(wanted)) for name, here, wanted in sorted(info["mismatched_keys"]))
    missing, surplus = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    return _fit(_empty(config, auto_class), missing=missing, misfits=misfits, surplus=surplus)


def _empty(config: Any, auto_class: Any) -> Any:
    """The model that `config` describes, without memory for its weights."""
    with torch.device("meta"):
        return (auto_class or family_of(config).objective.auto_class).from_config(copy.deepcopy(config))


def _fit(
    model: Any, *, missing: Sequence[str], misfits: Iterable[tuple[str, Shape, Shape]], surplus: Iterable[str]
) -> Fit:
    """With what is lent by its tied partner left out, either way round; two biases, whatever the config ties, are one
    and the same in every model."""
    tied = getattr(model, "_tied_weights_keys", None) or {}
    pairs = [pair for pair in tied.items() if model.config.tie_word_embeddings or pair[0].endswith(".bias")]
    partner = dict(pairs) | {source: target for target, source in pairs}
    body = f"{model.base_model_prefix}."
    own = (name for name, _ in model.named_parameters() if not name.startswith(body) and name not in tied)
    return Fit(
        missing=tuple(name for name in missing if name not in partner or partner[name] in missing),
        misfits=tuple(misfits),
        surplus=tuple(name for name in surplus if not _UNREAD.search(name)),
        head=frozenset(own),
        lent=frozenset(tied),
    )


def _renamed(name: str, body: str, wanted: Mapping[str, Shape]) -> str:
    """As `from_pretrained` reads it: TensorFlow's words for a LayerNorm's two vectors, and a body saved by itself."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return f"{body}{name}" if f"{body}{name}" in wanted else name


def refuse_unfit(fit: Fit, config: Any, model: str, *, adapts: bool) -> None:
    """Raise `InputError` where `from_pretrained` would make up a part of the model, and name it.

    A head that is missing as a whole is allowed where the teacher `adapts`: it learns one then.
    """
    family = family_of(config)
    missing = [name for name in fit.missing if not (fit.headless and name in fit.head | fit.lent)]
    if missing:
        raise InputError(
            f"teacher.model {model} lacks {len(missing)} of the weights that its config.json asks for "
            f"({listed(missing)}); give a whole {family.called(config)} with the config.json that belongs to it."
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


def no_head(config: Any, model: str) -> str:
    """What is said of a model without a head."""
    kind = f", saved as a {config.architectures[0]}," if config.architectures else ""
    return (
        f"teacher.model {model}{kind} has no head that predicts tokens; choose one that was saved with it, or let it "
        "learn one with teacher.adapt_steps above 0."
    )


def notices(fit: Fit, config: Any, model: str) -> Iterator[str]:
    """What a person should know of a model that is taken all the same."""
    if fit.surplus:
        yield (
            f"teacher.model {model} has {len(fit.surplus)} weights that are no part of a "
            f"{family_of(config).called(config)} of its config and are left out: {listed(fit.surplus)}."
        )
    if fit.headless:
        yield (
            f"teacher.model {model} has no head that predicts tokens: one starts from random weights, its decoder tied "
            "to the word embeddings, and learns during teacher.adapt_steps."
        )


@torch.no_grad()
def initialise_head(model: Any, fit: Fit, missing: Collection[str], called: str) -> None:
    """Put right, in place, what `from_pretrained` leaves open in a head; `missing`: the names that the files lack.

    Raises `InputError` where a decoder that should be tied has weights of its own: older versions of transformers pass
    over them, newer ones do not.
    """
    words, last = model.get_input_embeddings(), model.get_output_embeddings()
    biases = {name: source for name, source in model._tied_weights_keys.items() if name.endswith(".bias")}
    if fit.headless:
        model.config.tie_word_embeddings = True
        last.weight = words.weight
        for _, source in biases.items():
            last.bias = model.get_parameter(source)
    elif not model.config.tie_word_embeddings:
        for name, source in biases.items():  # older versions saved one of the two: they were always the same
            if name in missing:
                last.bias.copy_(model.get_parameter(source))
    if model.config.tie_word_embeddings and last.weight is not words.weight:
        weight = next(name for name in model._tied_weights_keys if name.endswith(".weight"))
        raise InputError(
            f"the config.json of teacher.model {called} ties the decoder to the word embeddings but its weights have "
            f"other values for it; set tie_word_embeddings to false there, or leave {weight} out."
        )


def listed(names: Sequence[str]) -> str:
    """The first few of many names, and how many there are beside them."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
