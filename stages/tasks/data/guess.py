"""What kind of task a file holds, where that is plain; where it is not, it has to be said."""

from stages.corpus.formats import json_rows
from stages.corpus.formats.damage import UNREAD, unread
from stages.errors import InputError
from stages.tasks.data.reading.cells import Cells
from stages.tasks.data.reading.judged import name_of, number_of
from stages.tasks.data.reading.suffix import suffix_of
from stages.tasks.scoring.spans import marks_spans
from stages.tasks.task import Kind

_COLUMNS = (".conll", ".bio", ".iob", ".iob2", ".bioes")
"""Ends of names that files of words and tags commonly have."""


def kind_of_file(path: str) -> tuple[Kind, str] | None:
    """(kind, why) by the file's name, or by SQuAD's layout in a .json; None where neither tells."""
    suffix, compression = suffix_of(path)
    if suffix in _COLUMNS:
        return "tokens", f"its name ends with {suffix}"
    if suffix != ".json":
        return None
    try:
        first = next(json_rows.in_sequence(path, compression), None)
    except UNREAD as error:
        raise unread(path, error) from error
    articles = first.value.get("data") if first is not None and isinstance(first.value, dict) else None
    if isinstance(articles, list) and articles and isinstance(articles[0], dict) and "paragraphs" in articles[0]:
        return "spans", "it has SQuAD's layout"
    return None


def kind_of_labels(cells: Cells) -> tuple[Kind, str]:
    """(kind, why): a list for every row is tokens; words, or two values, are classes; numbers with fractions a number.

    Raises `InputError` for anything else: whole numbers may be either, and what is different in nearly every row may
    be the wrong column.
    """
    labels = [label for label in cells.label if label is not None]
    if labels and all(isinstance(label, list) for label in labels):
        return "tokens", "its labels are lists"
    values = [number_of(label) for label in labels]
    numbers = {value for value in values if value is not None}
    different = {name_of(label) for label in labels}
    ask = "say kind=classes or kind=number, or name another column by label=…"
    if numbers and None in values:
        stray = next(label for label, value in zip(labels, values, strict=True) if value is None)
        raise InputError(
            f"{cells.where} has labels that are numbers and others that are none, such as {stray!r}; {ask}."
        )
    if any(not value.is_integer() for value in numbers):
        return "number", "its labels have fractions"
    if len(different) <= 2:
        return "classes", f"its labels have {len(different)} values"
    if numbers:
        raise InputError(f"{cells.where} has whole numbers for labels, {len(numbers):,} different ones; {ask}.")
    if 2 * len(different) > len(labels):
        raise InputError(
            f"{cells.where} has {len(different):,} different labels in {len(labels):,} rows; {ask}, or text=…."
        )
    return "classes", f"its labels are {len(different)} names"


def metrics_for(kind: Kind, cells: Cells | None) -> tuple[str, ...]:
    """What a task is scored by where nothing is said; for words it hangs on their labels, which `cells` have."""
    if kind == "tokens":
        tags = {name_of(tag) or "" for tags in (cells.label if cells else ()) if isinstance(tags, list) for tag in tags}
        spans = "O" in tags and all(map(marks_spans, tags))
        return ("span_f1",) if spans else ("accuracy", "macro_f1")
    if kind == "number":
        return ("r2", "pearson", "spearman")
    return ("squad_f1", "em") if kind == "spans" else ("accuracy", "macro_f1")
