"""How large everything is that a card is asked, and the same small enough for two CPU cores. No Ray here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from shapes import Shape

Figures = dict[str, Any]
"""What a part has measured: numbers and sentences by name, and tables as lists of such."""
Note = Callable[[Figures], None]
"""Takes what a part has so far, so that a cut loses nothing that was noted. `faults`: sentences; none: all is well."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of all parts."""

    base: Shape
    """What is timed: its `rows` are the largest micro-batch."""
    small: Shape
    """What is compared: three steps, resumption, fp16."""
    vocabularies: tuple[int, ...]
    width: int
    """Of the hidden states before the decoders whose losses are compared."""
    chunk: int
    """Positions of a whole chunk of the losses on this kind of device, at most; the parts add a short one."""
    micro_batches: tuple[int, ...]
    one_size: int
    """The micro-batch of profile, ablation and the compiled reference."""
    rounds: int
    steps: int
    """Of the run that is stopped half way."""
    fp16_steps: int
    most_rows: int
    """Where the search for a micro-batch ends."""


CARD = Sizes(
    base=Shape(12, 768, 12, 30_522, 256, 512, "all"),
    small=Shape(4, 256, 4, 30_522, 16, 128, "all"),
    vocabularies=(30_522, 250_002),
    width=768,
    chunk=4096,
    micro_batches=(8, 16, 32, 64, 128, 256),
    one_size=32,
    rounds=5,
    steps=40,
    fp16_steps=200,
    most_rows=1024,
)
"""BERT-base, 12 to 6 blocks, 512-token blocks, KL at every position: the paper's own sizes."""

CPU = Sizes(
    base=Shape(2, 64, 2, 1_000, 4, 32, "all"),
    small=Shape(2, 64, 2, 500, 4, 32, "all"),
    vocabularies=(100, 301),
    width=64,
    chunk=512,
    micro_batches=(1, 2, 4),
    one_size=2,
    rounds=2,
    steps=40,
    fp16_steps=200,
    most_rows=8,
)
"""Proves that the script works; its figures say nothing."""


def synchronize(device: torch.device) -> None:
    """Wait for what was launched on the device; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
