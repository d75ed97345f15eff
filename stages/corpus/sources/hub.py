"""Data sets as the `datasets` library knows them: by their name on the Hugging Face hub, or saved to a folder.

A hub data set is read as a stream, each task its own shards of it, at the revision that the driver saw first: nothing
is copied to the workers' disks, and every task reads the same data.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.errors import InputError
from stages.hub import HubName, ask, commit_of

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

TASK_BYTES = 1 << 25
SLICE_BYTES, PARTS = 1 << 27, 64
"""Of a file on the hub, about as much text is a task's; where the hub does not say how much there is, some 64 tasks
come of all files."""
UNREACHABLE = "unreachable"
_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A split of a data set; `path` is a folder where `revision` is empty, otherwise a name on the hub."""

    path: str
    name: str
    """The hub's name of a subset, such as 20231101.en; empty for the only one."""
    split: str
    revision: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of `count` equal parts of a data set; or, of those of the hub, where these are files and large, one of
    `slices` equal parts of such a file, by its row groups."""

    data: DataSet
    index: int
    count: int
    slice: int = 0
    slices: int = 1


def on_hub(path: str) -> HubName | None:
    """What a path names on the hub, `owner/name`, `owner/name:subset` or either with `@revision`; None for a folder."""
    if os.path.isdir(path):
        return None
    address, _, revision = path.partition("@")
    if ":" in revision or (not revision and address != path):
        raise InputError(f"corpus.paths names {path!r}: write owner/name:subset@revision, the revision last.")
    return HubName(kind="dataset", name=address.partition(":")[0], revision=revision or "main")


def pinned(path: str, commit: str) -> str:
    """The same path at a commit."""
    return f"{unpinned(path)}@{commit}"


def unpinned(path: str) -> str:
    """The same path without its revision; a folder is as it is."""
    return path if os.path.isdir(path) else path.partition("@")[0]


def resolve(path: str, name: str, split: str) -> DataSet:
    """The data set that `path` means: a saved folder, or one on the hub (see `on_hub`), at the commit that it has now
    where the path gives none.

    Raises `InputError` where there is none, or the hub does not answer within seconds.
    """
    there = on_hub(path)
    if there is not None:
        subset = unpinned(path).partition(":")[2]
        return DataSet(path=there.name, name=subset or name, split=split, revision=commit_of(there))
    if not {"dataset_info.json", "dataset_dict.json"} & set(os.listdir(path)):
        raise InputError(
            f"{path} holds no data set saved by save_to_disk; for text and tables set corpus.source to files."
        )
    return DataSet(path=os.path.abspath(path), name="", split=split, revision="")


def reach(paths: tuple[str, ...]) -> None:
    """Raise `InputError` where a data set has to be read from the hub and cannot: its commit may be known of old."""
    for there in filter(None, map(on_hub, paths)):
        ask(there)


def identity(path: str, name: str, split: str) -> dict[str, str]:
    """{data set: its fingerprint or revision}.

    Without a network the hub's is `UNREACHABLE`, so that a pipeline can still be described; `resolve` complains.
    """
    if not os.path.isdir(path):
        try:
            revision = resolve(path, name, split).revision
        except InputError:
            revision = UNREACHABLE
        return {f"{unpinned(path)}/{split}": revision}
    return {f"{os.path.basename(os.path.abspath(path))}/{split}": _saved(resolve(path, name, split))._fingerprint}


def parts(data: DataSet, column: str) -> list[Part]:
    """The data set cut into parts, each a task's work; raises `InputError` where it has no such split or column."""
    opened = _open(data)
    names = opened.column_names or list(next(iter(opened), {}))
    if column not in names:
        raise InputError(
            f"data set {data.path} has no column {column!r}; set corpus.text_column to one of those it has: "
            f"{', '.join(names)}."
        )
    if data.revision:
        count, slices = opened.num_shards, _slices(opened, data.split)
    else:  # no more parts than rows, of which one may be larger than a part is to be
        count, slices = max(1, min(opened.num_rows, opened.data.nbytes // TASK_BYTES)), 1
    return [
        Part(data=data, index=index, count=count, slice=slice, slices=slices)
        for index in range(count)
        for slice in range(slices)
    ]


def _slices(opened: "IterableDataset", split: str) -> int:
    """How many tasks are to read each file of a stream. Only Parquet can be read from the middle, by row groups."""
    files = opened.num_shards
    groups = opened.shard(num_shards=files, index=0).reshard().num_shards
    about = (opened.info.splits or {}).get(split)
    wanted = (
        about.num_bytes // files // SLICE_BYTES + 1 if about is not None and about.num_bytes else -(-PARTS // files)
    )
    return min(wanted, groups)


def documents(part: Part, column: str) -> Iterator[str]:
    """The raw documents of a part, in order; rows without text (null) are none."""
    rows = _open(part.data).shard(num_shards=part.count, index=part.index, contiguous=True)
    if part.slices > 1:
        rows = rows.reshard()
        count = min(part.slices, rows.num_shards)  # this file may have fewer row groups than others
        if part.slice >= count:
            return
        rows = rows.shard(num_shards=count, index=part.slice, contiguous=True)
    for batch in rows.select_columns([column]).iter(batch_size=_ROWS):
        for text in batch[column]:
            if isinstance(text, bytes):
                text = _decoded(text, part.data.path, column)
            if text is not None and not isinstance(text, str):
                raise InputError(f"column {column!r} of {part.data.path} holds {type(text).__name__} and not text.")
            if text:
                yield text


def _decoded(text: bytes, path: str, column: str) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"column {column!r} of {path} holds bytes that are not UTF-8 ({error.reason}); decode them, or set "
            "corpus.text_column to another one."
        ) from None


def _open(data: DataSet) -> "Dataset | IterableDataset":
    return _stream(data) if data.revision else _saved(data)


def _saved(data: DataSet) -> "Dataset":
    from datasets import DatasetDict, load_from_disk

    loaded = load_from_disk(data.path)
    if not isinstance(loaded, DatasetDict):
        return loaded
    if data.split not in loaded:
        raise InputError(
            f"data set {data.path} has no split {data.split!r}; set corpus.split to one of those it has: "
            f"{', '.join(loaded)}."
        )
    return loaded[data.split]


def _stream(data: DataSet) -> "IterableDataset":
    from datasets import load_dataset

    try:
        return load_dataset(data.path, data.name or None, split=data.split, revision=data.revision, streaming=True)
    except (OSError, RuntimeError, ValueError) as error:  # no such subset or split, a script, files that are gone
        raise InputError(f"cannot open data set {data.path}: {str(error).splitlines()[0]}") from error
