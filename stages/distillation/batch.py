"""Masked rows as a device computes them: cut into micro-batches, and copied there without anybody waiting."""

import numpy as np
import torch
from numpy.typing import NDArray

from stages.distillation.masking import Masked
from stages.distillation.step import Batch


def micro_batches(masked: Masked, size: int, device: torch.device) -> list[Batch]:
    """A worker's rows of one global batch, cut into micro-batches on its device."""
    tensors = [on_device(a, device).split(size) for a in (masked.input_ids_RL, masked.positions_RM, masked.labels_RM)]
    return [Batch(*part) for part in zip(*tensors, strict=True)]


def on_device(array: NDArray[np.int32], device: torch.device) -> torch.Tensor:
    """As int64. To a GPU from pinned memory: a copy from other memory would have the host wait for the step before,
    and then the next step's kernels are launched late."""
    tensor = torch.as_tensor(array).to(torch.int64)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
