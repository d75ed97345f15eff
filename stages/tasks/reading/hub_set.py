"""Data sets on the Hugging Face hub, at the commit that a task names or the hub has now."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stages.errors import InputError
from stages.hub import HubName, commit_of
from stages.tasks.examples import Questions
from stages.tasks.reading.cells import Cells, places
from stages.tasks.reading.squad import Asked, checked
from stages.tasks.task import HubSet

if TYPE_CHECKING:
    from datasets import Dataset


def commit(source: HubSet) -> str:
    """Asked of the hub unless the revision is a commit; raises `InputError` where it does not answer within seconds."""
    return commit_of(HubName(kind="dataset", name=source.name, revision=source.revision or "main"))


def cells(source: HubSet, split: str) -> Cells:
    """The task's columns of a split, classes by their names; -1, which stands for no label there, is none."""
    opened = _opened(source, split)
    columns, where = source.columns, f"{source.name} ({split})"
    wanted = [columns.text, columns.label, *filter(None, [columns.second])]
    places(opened.column_names, wanted, where)
    return Cells(
        where=where,
        unit="row",
        numbers=range(1, len(opened) + 1),
        text=list(opened[columns.text]),
        second=list(opened[columns.second]) if columns.second else None,
        label=_by_name(opened.features[columns.label], list(opened[columns.label])),
    )


def questions(source: HubSet, split: str) -> Questions:
    """Those of a split with SQuAD's columns: id, question, context, answers {text, answer_start}."""
    opened = _opened(source, split)
    places(opened.column_names, ["id", "question", "context", "answers"], f"{source.name} ({split})")
    return checked(_asked(opened), f"{source.name} ({split})")


def _asked(opened: "Dataset") -> Iterator[Asked]:
    for row in opened:
        given = row["answers"]
        yield row["id"], row["question"], row["context"], tuple(zip(given["text"], given["answer_start"], strict=True))


def _opened(source: HubSet, split: str) -> "Dataset":
    from datasets import load_dataset

    at = commit(source)
    try:
        return load_dataset(source.name, source.subset or None, split=split, revision=at)
    except (OSError, RuntimeError, ValueError) as error:  # no such subset or split, files that are gone
        raise InputError(
            f"cannot open data set {source.name}: {str(error).splitlines()[0]}; or give its files by data=FOLDER."
        ) from error


def _by_name(feature: Any, labels: list[Any]) -> list[Any]:
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    if names is None:
        return labels
    name = dict(enumerate(names))
    return [[name.get(tag) for tag in one] if isinstance(one, list) else name.get(one) for one in labels]
