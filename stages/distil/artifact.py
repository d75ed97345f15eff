"""What the distil stage makes."""

from dataclasses import dataclass

from stages.storage import Folder

TRAINING_FILE = "training.json"
"""Beside the student's weights: how it was made, a flat object of settings and totals."""


@dataclass(frozen=True, kw_only=True)
class Student:
    """A distilled student on storage, as transformers loads it, tokenizer included."""

    folder: Folder
    start: Folder
    """The same student at step 0: the teacher's blocks, untouched, unless `distil.start` says otherwise."""
    layers: tuple[int, ...]
    """The teacher blocks that it started from; of one that started from random weights, whose place its own have."""
    parameters: int
    steps: int
    tokens: int
    tokens_per_second: float
    seconds: float
