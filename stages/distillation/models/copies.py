"""A student of its teacher's own class: the same model with some of its blocks."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def same_class(
    teacher: Any, layers: Sequence[int], *, blocks: str, dropout: float, dropouts: Sequence[str], **changes: object
) -> Any:
    """A copy in fp32 with the blocks `layers` of `teacher`, bottom first, which are at the path `blocks` in it.

    `dropouts` names the fields of its config that become `dropout`, and `changes` has further fields. All else that the
    teacher has the student has too, head and tying included. Raises ValueError where a block has other weights than its
    place wants.
    """
    config = copy.deepcopy(teacher.config)
    config.__dict__.pop("auto_map", None)  # of code that lies beside the teacher
    for name, value in {"num_hidden_layers": len(layers), **dict.fromkeys(dropouts, dropout), **changes}.items():
        setattr(config, name, value)
    student = type(teacher)(config).float()
    found = student.load_state_dict(dict(_renamed(teacher.state_dict(), layers, f"{blocks}.")), strict=False)
    if found.missing_keys or found.unexpected_keys:
        raise ValueError(
            f"the teacher's blocks {tuple(layers)} lack {found.missing_keys}, have {found.unexpected_keys}"
        )
    return student


def _renamed(state: dict[str, Tensor], layers: Sequence[int], stem: str) -> Iterator[tuple[str, Tensor]]:
    """The teacher's weights under the names that they have in the student."""
    for name, weight in state.items():
        if not name.startswith(stem):
            yield name, weight
            continue
        number, rest = name.removeprefix(stem).split(".", 1)
        for place, layer in enumerate(layers):
            if layer == int(number):
                yield f"{stem}{place}.{rest}", weight
