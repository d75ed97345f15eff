"""Data sets as the `datasets` library knows them: by their name on the Hugging Face hub, or saved to a folder.

A hub data set is read as a stream, each task its own shards of it, at the revision that the driver saw first: nothing
is copied to the workers' disks, and every task reads the same data.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

HUB_SECONDS = 5
"""How long the hub may take to answer before it counts as out of reach."""
TASK_BYTES = 1 << 25
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
    """One of `count` equal parts of a data set."""

    data: DataSet
    index: int
    count: int


def resolve(path: str, name: str, split: str) -> DataSet:
    """The data set that `path` means: a saved folder, or `owner/name` or `owner/name:subset` on the hub.

    Raises `InputError` where there is none, or the hub does not answer within `HUB_SECONDS`.
    """
    if os.path.isdir(path):
        if not {"dataset_info.json", "dataset_dict.json"} & set(os.listdir(path)):
            raise InputError(
                f"{path} holds no data set saved by save_to_disk; for text and tables set corpus.source to files."
            )
        return DataSet(path=os.path.abspath(path), name="", split=split, revision="")
    repository, _, subset = path.partition(":")
    return DataSet(path=repository, name=subset or name, split=split, revision=_revision(repository))


def identity(path: str, name: str, split: str) -> dict[str, str]:
    """{data set: its fingerprint or revision}.

    Without a network the hub's is `UNREACHABLE`, so that a pipeline can still be described; `resolve` complains.
    """
    if not os.path.isdir(path):
        try:
            revision = resolve(path, name, split).revision
        except InputError:
            revision = UNREACHABLE
        return {f"{path}/{split}": revision}
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
    # no more parts than rows, of which one may be larger than a part is to be
    count = opened.num_shards if data.revision else max(1, min(opened.num_rows, opened.data.nbytes // TASK_BYTES))
    return [Part(data=data, index=index, count=count) for index in range(count)]


def documents(part: Part, column: str) -> Iterator[str]:
    """The raw documents of a part, in order; rows without text (null) are none."""
    rows = _open(part.data).shard(num_shards=part.count, index=part.index, contiguous=True).select_columns([column])
    for batch in rows.iter(batch_size=_ROWS):
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


def _revision(repository: str) -> str:
    """The commit that the data set's main branch stands at."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return HfApi().dataset_info(repository, timeout=HUB_SECONDS).sha or "main"
    except (RepositoryNotFoundError, HFValidationError, GatedRepoError) as error:
        raise InputError(
            f"corpus.paths names {repository!r}, which is neither a folder nor a data set that the hub shows you; "
            "correct it, or log in with `hf auth login`."
        ) from error
    except Exception as error:  # whatever the transport raises: it differs from version to version
        raise InputError(
            f"the hub does not answer for data set {repository!r} ({type(error).__name__}); connect to a network, or "
            "save it to a folder elsewhere (save_to_disk) and name that."
        ) from error
