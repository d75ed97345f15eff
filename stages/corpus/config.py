"""Which text, and how it is split, as a config says it; the stage is `stages/corpus/stage.py`."""

import re
from dataclasses import dataclass
from typing import Literal

from stages.context import since
from stages.errors import ConfigError

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]+)*")

CleaningStep = Literal["short", "symbols", "repetition"]
_WITHOUT_SPACES = ("zh", "ja", "th", "km", "lo", "my", "bo")
MOST_JOINED = 1 << 20
"""Characters of a joined document, at most: a quarter of the unit of a file that rows are joined within."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which text, and how it is split."""

    source: Literal["library-docs", "files", "datasets"] = "files"
    """library-docs: what installed libraries say of themselves; files: text and tables; datasets: hub, or saved."""
    paths: tuple[str, ...] = ()
    """files: globs, folders, s3:// or gs://; datasets: folders, or on the hub `owner/name` or `owner/name:subset`,
    either with `@revision`: a commit, a branch or a tag. As one word with commas, or as several words; a comma that is
    a part of a name is written `\\,`, or the list as JSON: '["a,b.txt", "c.txt"]'."""
    text_column: str = "text"
    """The column with the text in tables (.jsonl, .json, .csv, .tsv, .parquet) and data sets."""
    delimiter: str | None = since(None)
    """What stands between the fields of .csv and .tsv files: a character, or `tab`. Not given, it is a tab in .tsv, and
    in .csv the one of comma, semicolon and tab by which the header has the text column."""
    language: str = since("en")
    """Of the text, as ISO 639-1 has it: by which the ends of its sentences are found where a document is cut."""
    document_per: Literal["line", "file"] = "line"
    """What a document is in a .txt file."""
    join_rows: int = since(0)
    """Characters of the documents into which consecutive rows of one file are put together, where rows are sentences or
    lines; a document ends with the row by which it has so many, and at every 4 MiB of its file (of a data set: at the
    end of its part). 0: every row is a document. Documents, and so held-out ones, are then contiguous stretches."""
    join_paths: tuple[str, ...] = since(())
    """Of `paths`, those whose rows are joined; none named: all of them."""
    dataset_name: str = ""
    """datasets: the subset of those that name none themselves."""
    split: str = "train"
    """datasets: which split is read."""
    on_damaged: Literal["refuse", "skip"] = "refuse"
    """files: what becomes of a run where a file is broken: it is refused, or goes on without the whole file, which is
    counted; then every file is read twice, first to see whether it is whole."""
    min_characters: int = 20
    """Shorter documents are dropped: they are headings and leftovers."""
    clean: tuple[CleaningStep, ...] = since(())
    """What else drops documents, in this order: short (fewer than 50 words), symbols (too many of them, words too short
    or too long, braces, filler), repetition (the same words again and again); by the rules of Gopher and C4. Each is
    counted, and ten of what it dropped are kept in dropped.txt. For languages that part their words by spaces."""
    heldout_fraction: float = 0.01
    """files, datasets: about this share of the documents is held out, chosen by a hash of their text."""
    distributions: tuple[str, ...] = ()
    """library-docs: the installed distributions to read; none named means `library_docs.DISTRIBUTIONS`."""
    heldout_distributions: tuple[str, ...] = ()
    """library-docs: those held out, whole; none named means `library_docs.HELDOUT_DISTRIBUTIONS`."""

    def __post_init__(self) -> None:
        if not _LANGUAGE.fullmatch(self.language):
            rule = "must be a language as ISO 639 has it, such as en, de or zh-TW"
            raise ConfigError("corpus.language", self.language, rule)
        if self.min_characters < 1:
            raise ConfigError("corpus.min_characters", self.min_characters, "must be at least 1")
        if self.clean and re.split("[-_]", self.language.lower())[0] in _WITHOUT_SPACES:
            raise ConfigError("corpus.clean", self.clean, f"must be empty: {self.language} has no spaces between words")
        if self.join_rows and not self.min_characters <= self.join_rows <= MOST_JOINED:
            rule = f"must be 0, or characters from corpus.min_characters ({self.min_characters}) to {MOST_JOINED:,}"
            raise ConfigError("corpus.join_rows", self.join_rows, rule)
        if not 0 <= self.heldout_fraction <= 0.5:
            raise ConfigError("corpus.heldout_fraction", self.heldout_fraction, "must be from 0 to 0.5")
        if self.delimiter is not None and (len(self.mark or "") != 1 or self.mark in ('"', "\n", "\r", " ", "\0")):
            raise ConfigError("corpus.delimiter", self.delimiter, "must be a single character, such as ; or |, or tab")

    @property
    def joined(self) -> tuple[str, ...]:
        """Those of `paths` whose rows are joined."""
        named = {self._bare(path) for path in self.join_paths or self.paths}
        return tuple(path for path in self.paths if self.join_rows and self._bare(path) in named)

    @property
    def notice(self) -> str:
        """A sentence on paths whose rows were to be joined and that are not read; empty where there are none: a recipe
        may be given other paths."""
        there = {self._bare(path) for path in self.paths}
        missing = [path for path in self.join_paths if self._bare(path) not in there]
        if not self.join_rows or not missing:
            return ""
        what = "some of" if self.joined else "none of"
        return (
            f"corpus: join_paths names {missing[0]}, which is none of corpus.paths; the rows of {what} them are joined."
        )

    def _bare(self, path: str) -> str:
        """A data set without its revision: a run fills in the commit."""
        return path.partition("@")[0] if self.source == "datasets" else path

    @property
    def mark(self) -> str | None:
        """The delimiter as a character; None where the file tells it."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter
