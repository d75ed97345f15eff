"""What rank 0 has, on all workers: objects, and the tensors of models and optimisers, by torch.distributed.

Tensors go as bytes, so that every dtype arrives bit for bit under gloo as under NCCL.
"""

from collections.abc import Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

_Object = TypeVar("_Object")

Layout = tuple[tuple[str, torch.Size, torch.dtype], ...]
"""Name, shape and dtype of each tensor, in the order in which they are sent."""


def told(mine: _Object | None, device: torch.device) -> _Object:
    """Rank 0's object; `mine` of the others is not looked at. NCCL wants to know the worker's `device`."""
    box = [mine]
    dist.broadcast_object_list(box, src=0, device=device)
    assert box[0] is not None, "rank 0 says something"
    return box[0]


def gathered(mine: _Object) -> list[_Object]:
    """What each worker says, by rank."""
    found: list[_Object | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return [one for one in found if one is not None]


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """What the others must have room for."""
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items())


@torch.no_grad()
def fill_(tensors: Mapping[str, Tensor], layout: Layout) -> None:
    """Write rank 0's tensors over these, whose layout rank 0 told; raises RuntimeError where they have another."""
    if layout_of(tensors) != layout:
        wrong = {name for name, *_ in set(layout_of(tensors)) ^ set(layout)} or {"their order"}
        raise RuntimeError(
            f"this worker has other tensors than rank 0 ({', '.join(sorted(wrong)[:3])}): are torch and transformers "
            "of the same versions on all machines?"
        )
    for tensor in filter(Tensor.numel, tensors.values()):
        assert tensor.is_contiguous(), "a view of its bytes is no copy"
        dist.broadcast(tensor.detach().view(-1).view(torch.uint8), src=0)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers by name, each once where several names are tied."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def untie(model: nn.Module, layout: Layout) -> None:
    """Give a parameter of its own to each name of `layout` that is tied here: a model's files may hold two tensors
    where its config asks for one, and then transformers keeps them two."""
    own = tensors_of(model)
    for name, shape, dtype in layout:
        if name not in own:
            parent, _, last = name.rpartition(".")
            device = model.get_parameter(name).device
            setattr(model.get_submodule(parent), last, nn.Parameter(torch.empty(shape, dtype=dtype, device=device)))
