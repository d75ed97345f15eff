"""What the teacher stages make."""

from dataclasses import dataclass

from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A BERT masked language model on storage: config, fp32 safetensors and tokenizer, as transformers loads them."""

    folder: Folder
    name: str
    """As it is known: a hub name, a folder's name, or the stage that made it."""
    layers: int
    width: int
    vocab_size: int
    positions: int
    parameters: int
