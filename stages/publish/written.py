"""What is published, once it is written: that it loads as what it was, and what tells it from others."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stages.distillation.families.table import family_of
from stages.publish.artifact import Published
from stages.storage import Folder

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
SAMPLE = 64
"""Tokens on which the published model is compared with what was to be published."""


def verified(folder: Path, was: Loaded, load: Callable[[Path], Loaded], *, target: Folder) -> Published:
    """The folder's content, which is to lie in `target`, with its digests.

    Raises RuntimeError unless the folder loads with every parameter and word and gives the very same logits as what it
    `was`.
    """
    (model, tokenizer), (again, words) = was, load(folder)
    if words.get_vocab() != tokenizer.get_vocab():
        raise RuntimeError(f"the tokenizer in {folder} does not load as it was saved")
    # Ids and not a text: a tokenizer of whole words may take none of ours.
    most = min(model.config.vocab_size, family_of(model.config).positions(model.config), SAMPLE)
    ids = torch.arange(most).unsqueeze(0)
    with torch.inference_mode():
        same = torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    if not same or again.num_parameters() != model.num_parameters():
        raise RuntimeError(f"the model in {folder} does not give the logits that it gave when it was saved")
    return Published(
        folder=target,
        weights_digest=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        vocabulary_digest=hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest(),
    )
