"""What a teacher's weight files hold, by name and shape: from their headers, in any format, here or on the hub.

A file that cannot be read is bad input, and is named as what it is: a pointer of Git LFS, cut off, no weights at all.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open

from stages.errors import InputError

Shape = tuple[int, ...]
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In the order in which transformers looks for them: the first that is there is read, and no other."""
_POINTER = b"version https://git-lfs.github.com/spec/"


def shapes_in(folder: Path) -> dict[str, Shape]:
    """Each tensor's shape by its name in the weight files that transformers would read, from their headers.

    Raises `InputError` for a file that is damaged, cut off, a Git LFS pointer, or not there though an index names it.
    """
    return {name: shape for file in weight_files(folder) for name, shape in _shapes_of(file).items()}


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers would read a folder's weights from, an index resolved; empty where there is none."""
    first = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if first is None:
        return []
    if first.suffix != ".json":
        return [first]
    refuse_pointer(first)
    try:
        names = sorted(set(json.loads(first.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [folder / name for name in names]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{first} is damaged or no index of weight files; download or save it again.") from error
    for file in files:
        if not file.is_file():
            raise InputError(f"{first} names {file.name}, which is not there; download or save the whole model.")
    return files


def refuse_pointer(file: Path) -> None:
    """Raise `InputError` where Git LFS left a pointer of three lines in the place of the file."""
    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise InputError(
                f"{file} is a Git LFS pointer and not the file itself; run `git lfs pull` there, or download it again."
            )


def _shapes_of(file: Path) -> dict[str, Shape]:
    refuse_pointer(file)
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as weights:
                return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
        # The old format has no table of contents: whether it is whole shows by reading it.
        held = torch.load(file, map_location="meta" if is_zipfile(file) else "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError, OSError, ValueError, LookupError) as error:
        raise InputError(
            f"{file} is damaged, cut off, or holds something else than weights; download or save it again."
        ) from error
    if not isinstance(held, Mapping):
        raise InputError(f"{file} holds a {type(held).__name__} and no weights by name; save the model again.")
    return {name: tuple(tensor.shape) for name, tensor in held.items() if isinstance(tensor, torch.Tensor)}


def shapes_on_hub(model: str, revision: str) -> dict[str, Shape] | None:
    """The same of a model on the hub, by asking for the headers alone, some hundred kilobytes.

    None where they are not to be had so: only pickled weights are there, or nobody answers. `fetch` looks again.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        headers = HfApi().get_safetensors_metadata(model, revision=revision).files_metadata.values()
    except SafetensorsParsingError as error:
        raise InputError(f"teacher.model {model} has damaged weights on the hub; choose another revision.") from error
    except Exception:  # whatever the transport raises: it differs from version to version
        return None
    return {name: tuple(tensor.shape) for header in headers for name, tensor in header.tensors.items()}


def is_whole(folder: Path) -> bool:
    """Whether a folder has weights, and all that an index names: a download may have been interrupted."""
    try:
        return bool(weight_files(folder))
    except InputError:
        return False
