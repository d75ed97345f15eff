"""CoNLL's columns: a word a line, its class in another column, a blank line behind each sentence."""

from stages.corpus.formats.damage import UNREAD, unread
from stages.corpus.formats.text import lines
from stages.errors import InputError
from stages.tasks.data.reading.cells import Cells, numbered_places
from stages.tasks.data.reading.suffix import suffix_of
from stages.tasks.task import Files

_DOCUMENT = "-DOCSTART-"
"""A line of its own in CoNLL 2003, where a text begins; no word."""


def cells(path: str, files: Files) -> Cells:
    """The sentences: `text` a list of words each, `label` their classes; `numbers` the lines where they begin.

    Columns lie between tabs where a line has one, otherwise between spaces. CoNLL-U's lines before a sentence
    ("# text = …") are passed over. Raises `InputError` for a line with fewer or more columns than the first.
    """
    numbers: list[int] = []
    words: list[list[str]] = []
    labels: list[list[str]] = []
    width, at, within = 0, [0, 0], False
    try:
        for number, (_, whole) in enumerate(lines(path, suffix_of(path)[1]), 1):
            line = whole.rstrip()
            if not line or line.startswith(_DOCUMENT) or (not within and line.startswith("# ") and " = " in line):
                within = False
                continue
            fields = line.split("\t") if "\t" in line else line.split()
            if not width:
                width = len(fields)
                at = numbered_places([files.columns.text or "0", files.columns.label or "-1"], width, path)
                if at[0] == at[1]:
                    raise InputError(f"{path} line {number:,} has a word and no class behind it; add a column.")
            if len(fields) != width:
                raise InputError(
                    f"{path} line {number:,} has {len(fields)} columns and the first word's line {width}; mend it."
                )
            if not within:
                numbers.append(number)
                words.append([])
                labels.append([])
                within = True
            words[-1].append(fields[at[0]])
            labels[-1].append(fields[at[1]])
    except UNREAD as error:
        raise unread(path, error) from error
    if not words:
        raise InputError(f"{path} has no words; name another file.")
    return Cells(where=path, unit="line", numbers=numbers, text=words, second=None, label=labels)
