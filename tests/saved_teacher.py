"""A tiny BERT with its tokenizer, saved as a user would have it, and ways to spoil it."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from published import tiny_tokenizer
from safetensors.torch import load_file, save_file
from tiny import WORDS, tiny_bert
from transformers import BertForMaskedLM

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 440473133\n"
"""What Git leaves in a large file's place where Git LFS is not installed."""

Tensors = dict[str, torch.Tensor]


def saved(folder: Path, model: BertForMaskedLM | None = None) -> Path:
    """The folder, with `model` or a tiny BERT of two blocks in it."""
    (model or tiny_bert()).save_pretrained(folder)
    tiny_tokenizer(WORDS).save_pretrained(folder)
    return folder


def edited(folder: Path, **changes: object) -> Path:
    """The folder with fields of its config.json changed."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def rewritten(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The folder with its weights changed, names and all."""
    file = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}, file, {"format": "pt"})
    return folder


def pickled(folder: Path, shards: int = 1, *, legacy: bool = False) -> Path:
    """The folder with its weights as torch saves them, in one file or in several with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
        return folder
    files = [f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin" for i in range(shards)]
    for number, file in enumerate(files):
        torch.save({name: tensors[name] for name in sorted(tensors)[number::shards]}, folder / file)
    weight_map = {name: files[number % shards] for number, name in enumerate(sorted(tensors))}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder
