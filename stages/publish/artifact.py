"""What the publish stage makes."""

from dataclasses import dataclass

from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Published:
    """A folder for `from_pretrained` of the objective's auto class, and of `AutoTokenizer`."""

    folder: Folder
    weights_digest: str
    """SHA-256 of model.safetensors: two runs that publish the same model say so by this."""
    vocabulary_digest: str
    """SHA-256 of the tokenizer's words and ids; losses of models are comparable only where it is the same."""
