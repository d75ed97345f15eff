"""What a labelled task is: what is predicted, how that is scored, and where its rows are."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["classes", "number", "tokens", "spans"]
"""What is predicted: a class or a number for a text or two, a class for every word, or where in a text an answer stands
(SQuAD)."""
Layout = Literal["table", "plain", "conll", "squad"]
"""How rows lie in a file: a table with a header; GLUE's lines, in which quotes are plain characters; a word a line; the
JSON of SQuAD."""
METRICS: dict[Kind, tuple[str, ...]] = {
    "classes": ("accuracy", "f1", "macro_f1", "mcc"),
    "number": ("pearson", "spearman", "r2"),
    "tokens": ("span_f1", "accuracy", "f1", "macro_f1", "mcc"),
    "spans": ("squad_f1", "em"),
}
"""By which each kind can be scored; f1 may name the class that is looked for: f1:spam."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What stands where in a row: names out of a header, or places from 0 (-1: the last) where there is none.

    SQuAD's layout has its own names and needs none of these.
    """

    text: str = ""
    """The text, or the list of words."""
    second: str = ""
    """The other text of a pair; empty where there is one text."""
    label: str = ""
    """The class, the number, or the list of the words' classes."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """A task in files: local paths, or any address that pyarrow opens."""

    train: str
    dev: str = ""
    """Empty: `dev_share` of train is cut off."""
    dev_share: float = 0.2
    layout: Layout = "table"
    columns: Columns = Columns()
    header: bool = True
    """Whether a plain file's first line names the columns; CoLA's does not."""
    delimiter: str = ""
    """Of a .csv or .tsv; empty: found by the header."""


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """A task in a data set on the Hugging Face hub."""

    name: str
    train: str
    dev: str
    """Its Parquet files: patterns, as sst2/train-*."""
    revision: str = ""
    """A branch, tag or commit; empty: what the hub has now."""
    columns: Columns = Columns()


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled task."""

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    """By which it is scored, of `METRICS`; the first is the one that tables report."""
    source: Files | HubSet
    standard: bool = False
    """Whether it is a published one, whose rows without text or label are left out and counted; in a file of the
    user's own they are refused."""
    notes: tuple[str, ...] = ()
    """Sentences on what was guessed when it was named."""
