"""What the teacher stages make."""

from dataclasses import dataclass
from typing import Literal

from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A language model on storage: config, fp32 safetensors and tokenizer, as transformers loads them."""

    folder: Folder
    name: str
    """As it is known: a hub name, a folder's name, or the stage that made it."""
    layers: int
    width: int
    vocab_size: int
    positions: int
    """Tokens that it reads at most."""
    parameters: int
    objective: Literal["masked", "causal"] = "masked"
    """What it was taught: to predict masked tokens, or the next one."""
