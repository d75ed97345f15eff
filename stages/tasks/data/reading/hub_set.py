"""Data sets on the Hugging Face hub: Parquet files of the commit that a task names, or the hub has now.

Files are fetched as they are, since `datasets` takes whatever it read last, of any commit, where the hub does not
answer, and waits half a minute first. What a commit's files are is kept with them, so that those need no network again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.corpus.formats.damage import UNREAD, unread
from stages.errors import InputError
from stages.hub import HubName, Unreachable, ask, commit_of
from stages.tasks.data.reading.cells import Cells, places
from stages.tasks.data.reading.squad import Asked, checked
from stages.tasks.examples import Questions
from stages.tasks.task import HubSet


def commit(source: HubSet) -> str:
    """The commit that a data set's revision is; the hub is asked unless it is one itself.

    Raises `Unreachable` where it does not answer within seconds, and `InputError` where it has no such revision.
    """
    return _told(source, source.revision or "main", commit_of)


def _told(source: HubSet, revision: str, asked: Callable[[HubName], str]) -> str:
    name = HubName(kind="dataset", name=source.name, revision=revision)
    try:
        return asked(name)
    except Unreachable as error:
        raise Unreachable(
            f"the hub does not answer for {name}; connect to a network, or give the task's files by data=FOLDER."
        ) from error
    except InputError as error:
        raise InputError(
            f"the hub shows you no {name} at {name.revision!r}; correct revision=, or log in with `hf auth login`."
        ) from error


def cells(source: HubSet, files: str) -> Cells:
    """The task's columns of a part, classes by their names; -1, which stands for no label there, is none."""
    columns, where = source.columns, f"{source.name} ({files})"
    wanted = [columns.text, columns.label, *filter(None, [columns.second])]
    table = _table(source, files, wanted)
    return Cells(
        where=where,
        unit="row",
        numbers=range(1, table.num_rows + 1),
        text=table.column(columns.text).to_pylist(),
        second=table.column(columns.second).to_pylist() if columns.second else None,
        label=_by_name(table, columns.label),
    )


def questions(source: HubSet, files: str) -> Questions:
    """Those of a part with SQuAD's columns: id, question, context, answers {text, answer_start}."""
    table = _table(source, files, ["id", "question", "context", "answers"])
    return checked(_asked(table), f"{source.name} ({files})")


def _asked(table: pa.Table) -> Iterator[Asked]:
    for row in table.to_pylist():
        given = row["answers"]
        yield row["id"], row["question"], row["context"], tuple(zip(given["text"], given["answer_start"], strict=True))


def _table(source: HubSet, files: str, wanted: list[str]) -> pa.Table:
    found = sorted(_fetched(source).glob(files))
    if not found:
        raise InputError(f"data set {source.name} has no files {files} at {commit(source)}; say another revision=.")
    parts = []
    for path in found:
        try:
            opened = pq.ParquetFile(path)
            places(opened.schema_arrow.names, wanted, f"{source.name} ({path.name})")
            parts.append(opened.read(columns=wanted))
        except UNREAD as error:
            raise unread(str(path), error) from error
    return pa.concat_tables(parts)


def _fetched(source: HubSet) -> Path:
    """The folder with the files of train and dev, as they lie in the repository."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    at = commit(source)
    fetch = partial(
        snapshot_download, source.name, repo_type="dataset", revision=at, allow_patterns=[source.train, source.dev]
    )
    try:
        return Path(fetch(local_files_only=True))
    except LocalEntryNotFoundError:
        _told(source, at, ask)  # it says within seconds that it does not answer; a download tries for half a minute
    try:
        return Path(fetch())
    except Exception as error:  # whatever the transport raises: it differs from version to version
        raise InputError(
            f"cannot fetch data set {source.name} at {at} from the hub ({type(error).__name__}); connect to a network, "
            "or give the task's files by data=FOLDER."
        ) from error


def _by_name(table: pa.Table, column: str) -> list[Any]:
    """The labels, by the names that `datasets` keeps in the files' metadata where they are numbers of classes."""
    from datasets import Features

    feature: Any = Features.from_arrow_schema(table.schema)[column]
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    labels = table.column(column).to_pylist()
    if names is None:
        return labels
    name = dict(enumerate(names))
    return [[name.get(tag) for tag in one] if isinstance(one, list) else name.get(one) for one in labels]
