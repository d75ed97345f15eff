"""A training's tensors, copied and on a disk: the model as transformers loads it, the optimiser's state in safetensors.

Nothing is unpickled. Neither Ray nor Arrow here, so that a benchmark stops and goes on exactly as a worker does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

MODEL, OPTIMIZER = "model.safetensors", "optimizer.safetensors"


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """A training's tensors as they were at one step, in memory of their own: training may go on meanwhile."""

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]


def copied(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensors:
    """Copies on the CPU; tensors that are one (tied embeddings) stay one, which is how transformers knows of it."""
    copies: dict[int, torch.Tensor] = {}

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in copies:
            copies[tensor.data_ptr()] = tensor.detach().to("cpu", copy=True).contiguous()
        return copies[tensor.data_ptr()]

    return Tensors(
        model={name: copy(tensor) for name, tensor in model.state_dict().items()},
        optimizer={name: copy(tensor) for name, tensor in moments(optimizer).items()},
    )


def write(folder: Path, model: PreTrainedModel, tensors: Tensors) -> None:
    """Write `tensors` into a folder that is there; `model` is only asked for its config and its class."""
    model.save_pretrained(folder, state_dict=tensors.model)
    save_file(tensors.optimizer, folder / OPTIMIZER)


@torch.no_grad()
def read(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put what `write` left in `folder` into the model and the optimiser, wherever their tensors are."""
    weights = load_file(folder / MODEL)
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
    put_moments(optimizer, load_file(folder / OPTIMIZER))


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's own tensors, by the number of their parameter and their name: "3.exp_avg"."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": tensor for index, entry in state.items() for name, tensor in entry.items()}


def put_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Have the optimiser go on with what `moments` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
