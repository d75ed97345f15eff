"""What packing and masking must know of a teacher's tokenizer: its special tokens by their roles."""

import json
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from stages.errors import InputError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What makes a folder's tokenizer loadable, by `tokenizers` and by transformers."""
ROLES = ("cls", "sep", "mask", "unk", "pad", "bos", "eos")
"""As transformers names them: `cls_token` and so on."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What packing and masking must know of a tokenizer."""

    size: int
    """Of a table by token id: see `size_of`."""
    cls_id: int | None
    """What a text begins with; None where it begins with nothing, as for a causal model."""
    sep_id: int
    """What a text ends with."""
    mask_id: int | None
    """None for a causal model."""
    unk_id: int | None
    """None where every text can be spelt, as in bytes."""
    special_ids: tuple[int, ...]
    pad_id: int = 0
    """A record from before blocks had padding says nothing of it, and needs none."""
    names: tuple[str, ...] = ()
    """The tokens that have a role, as text: whoever makes a block puts them where they mean something. Blocks that were
    recorded before there was the field are packed, and need none."""

    @property
    def causal(self) -> bool:
        """Whether it is a causal model's."""
        return self.mask_id is None


def size_of(tokenizer: Tokenizer) -> int:
    """The largest id and one: how many rows a table by id needs. A word that stands twice in vocab.txt leaves an id
    that is no word's, and the number of words (`get_vocab_size`) is too small then."""
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def special_tokens(tokenizer: Any) -> dict[str, str]:
    """A tokenizer's special tokens by their roles, those that it has."""
    found = {role: getattr(tokenizer, f"{role}_token", None) for role in ROLES}
    return {role: str(token) for role, token in found.items() if token is not None}


def vocabulary_of(tokenizer: Any, *, causal: bool = False) -> Vocabulary:
    """The vocabulary of a fast tokenizer of transformers; `InputError` where it lacks a role that the objective needs.

    A masked model needs a start (cls or bos), an end (sep or eos), a mask and a padding token; a causal one what stands
    behind a document (eos), which serves as padding where it has no other.
    """
    backend = tokenizer.backend_tokenizer
    tokens = special_tokens(tokenizer)
    if "unk" not in tokens and (unknown := _unknown_of(backend)) is not None:
        tokens["unk"] = unknown
    ids = {role: found for role, token in tokens.items() if (found := backend.token_to_id(token)) is not None}
    if ids.get("unk") in [number for role, number in ids.items() if role != "unk"]:
        del ids["unk"]  # GPT-2's, which spells what it does not know in bytes: it is what ends a document
    start, end = ids.get("cls", ids.get("bos")), ids.get("sep", ids.get("eos"))
    if causal:
        start, end = None, ids.get("eos")
        missing = [] if end is not None else ["eos_token"]
    else:
        needed = {"cls_token": start, "sep_token": end, "mask_token": ids.get("mask"), "pad_token": ids.get("pad")}
        missing = [role for role, found in needed.items() if found is None]
    if missing or end is None:
        what = "a causal model has what ends a document" if causal else "a masked language model has them all"
        raise InputError(
            f"the teacher's tokenizer lacks {', '.join(missing)}: {what}; save the tokenizer that belongs to the model."
        )
    special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special} | set(ids.values())
    return Vocabulary(
        size=size_of(backend),
        cls_id=start,
        sep_id=end,
        mask_id=None if causal else ids["mask"],
        unk_id=ids.get("unk"),
        special_ids=tuple(sorted(special)),
        pad_id=ids.get("pad", end),
        names=tuple(dict.fromkeys(tokens.values())),
    )


def _unknown_of(backend: Tokenizer) -> str | None:
    """The unknown word that the model inside a tokenizer has, where no role names it."""
    model = json.loads(backend.to_str())["model"]
    if model.get("unk_id") is not None:
        return backend.id_to_token(model["unk_id"])
    return model.get("unk_token")
