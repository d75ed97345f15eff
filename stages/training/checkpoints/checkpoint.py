"""Checkpoints that are whole or do not exist: files first, then `manifest.json` with their sizes and SHA-256.

A checkpoint is a folder `step-00000400` with the model as transformers loads it, the optimiser's state in safetensors
and `state.json`. Nothing in it is unpickled.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel

from stages.storage import Folder
from stages.tokens.vocabulary import TOKENIZER_FILES
from stages.training.checkpoints import snapshot
from stages.training.checkpoints.snapshot import Tensors

MANIFEST, STEP = "manifest.json", "step-"


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Where training stands, beside the tensors. Dropout needs no generator's state: it is seeded by (seed, step)."""

    step: int
    """Optimiser steps done: the next step's number."""
    seconds: float = 0.0
    """Spent in steps so far, over all starts."""
    best_loss: float = float("inf")
    """Lowest held-out masked-LM loss so far, and the step it was at."""
    best_step: int = -1
    loss_scale: float = 1.0
    """fp16's gradient scale; 1 elsewhere."""
    micro_batch: int = 0
    """Blocks that a worker computes at a time; kept where it was found to fit, so that it is looked for once
    on a kind of card."""
    devices: str = ""
    """The kinds of card or processor that it was found on; empty in checkpoints that do not say."""
    threads: int = 0
    """CPU threads that rank 0 computes with."""
    history: tuple[dict[str, float], ...] = field(default=())
    """Everything reported so far, in order."""
    skipped_steps: int = 0
    """Steps whose gradient was no finite number, and from which nothing was learned."""
    failed_checkpoints: int = 0
    """Checkpoints that could not be written; training went on."""


@dataclass(frozen=True, kw_only=True)
class Here:
    """The newest whole checkpoint, with its files on this machine."""

    local: Path | None
    """Where they are; None where there is no whole one."""
    state: TrainState
    """Its state; without one, that of a training at its first step."""
    broken: tuple[str, ...] = ()
    """As `Found.broken`."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a look into a folder of checkpoints found."""

    newest: Folder | None
    """The newest whole one."""
    broken: tuple[str, ...] = ()
    """Newer ones that do not count: name and what is wrong with it."""


def save(folder: Folder, state: TrainState, model: PreTrainedModel, tensors: Tensors, tokenizer: Folder) -> Folder:
    """Write the checkpoint of `state.step` below `folder`; its manifest is written last.

    `model` is only asked for its config and its class. Deletes checkpoints of later steps: training would have gone on
    from them were they whole. Raises OSError where there is no room, say; what was written by then is deleted.
    """
    target = folder / f"{STEP}{state.step:08d}"
    try:
        target.remove()
        with _place(target) as local:
            snapshot.write(local, model, tensors)
            tokenizer.copy_to(local, TOKENIZER_FILES)
            (local / "state.json").write_text(json.dumps(asdict(state)))
            files = {path.name: _described(path) for path in sorted(local.iterdir())}
        target.write_bytes(MANIFEST, json.dumps({"files": files}, indent=1).encode())
    except (OSError, SafetensorError) as error:
        target.remove()
        raise error if isinstance(error, OSError) else OSError(str(error)) from error
    for name in _checkpoints(folder):
        if name > target.name:
            (folder / name).remove()
    return target


@contextmanager
def _place(target: Folder) -> Iterator[Path]:
    """Where a checkpoint's files are written: on a disk in their place, since without a manifest they do not count."""
    if not target.is_local:
        with target.written_locally() as local:
            yield local
        return
    target.path.mkdir(parents=True, exist_ok=True)
    yield target.path


def read_state(checkpoint: Folder) -> TrainState:
    """A checkpoint's state, without its tensors."""
    state = json.loads(checkpoint.read_bytes("state.json"))
    return TrainState(**{**state, "history": tuple(state["history"])})


def look(folder: Folder) -> Found:
    """The whole checkpoint with the highest step, and which newer ones were passed over."""
    broken: list[str] = []
    for name in reversed(_checkpoints(folder)):
        problem = fault(folder / name)
        if problem is None:
            return Found(newest=folder / name, broken=tuple(broken))
        broken.append(f"{name}: {problem}")
    return Found(newest=None, broken=tuple(broken))


@contextmanager
def newest_here(folder: Folder) -> Iterator[Here]:
    """The whole checkpoint with the highest step while the block runs: brought here once, and verified here.

    One without a manifest, whose writer died, is not brought.
    """
    broken: list[str] = []
    for name in reversed(_checkpoints(folder)):
        place = folder / name
        if place.exists(MANIFEST):
            with place.as_local() as local:
                copy = Folder(str(local))
                problem = fault(copy)
                if problem is None:
                    yield Here(local=local, state=read_state(copy), broken=tuple(broken))
                    return
        else:
            problem = fault(place)
        broken.append(f"{name}: {problem}")
    yield Here(local=None, state=TrainState(step=0), broken=tuple(broken))


def newest(folder: Folder) -> Folder | None:
    """The whole checkpoint with the highest step, or None; one that fails its manifest is passed over."""
    return look(folder).newest


def history(folder: Folder) -> tuple[dict[str, float], ...]:
    """What was reported up to the newest whole checkpoint in `folder`, each with its `step`; empty before the first."""
    last = newest(folder)
    return () if last is None else read_state(last).history


def is_whole(checkpoint: Folder) -> bool:
    """Whether the manifest is there, readable, and every file has the size and digest it names."""
    return fault(checkpoint) is None


def fault(checkpoint: Folder) -> str | None:
    """What keeps a checkpoint from counting; None where it is whole."""
    if not checkpoint.exists(MANIFEST):
        return f"it has no {MANIFEST}: writing it was cut short"
    try:
        files = json.loads(checkpoint.read_bytes(MANIFEST))["files"]
    except ValueError:  # cut short, as after a full disk
        return f"its {MANIFEST} is damaged"
    for name, said in files.items():
        if not checkpoint.exists(name):
            return f"{name} is missing"
        if not _same(checkpoint.read_bytes(name), said):
            return f"{name} is not what its manifest says"
    return None


def keep_only(folder: Folder, newest_to_keep: int, best_step: int) -> None:
    """Delete all checkpoints but the newest few and the best."""
    names = _checkpoints(folder)
    kept = {*names[-newest_to_keep:], f"{STEP}{best_step:08d}"}
    for name in names:
        if name not in kept:
            (folder / name).remove()


def _checkpoints(folder: Folder) -> list[str]:
    return [name for name in folder.names() if name.startswith(STEP)]


def _described(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _same(data: bytes, said: dict[str, int | str]) -> bool:
    return len(data) == said["bytes"] and hashlib.sha256(data).hexdigest() == said["sha256"]
