"""Which text, and how it is split, as a config says it; the stage is `stages/corpus/stage.py`."""

import re
from dataclasses import dataclass
from typing import Literal

from stages.context import since
from stages.errors import ConfigError

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]+)*")


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
    dataset_name: str = ""
    """datasets: the subset of those that name none themselves."""
    split: str = "train"
    """datasets: which split is read."""
    on_damaged: Literal["refuse", "skip"] = "refuse"
    """files: what becomes of a run where a file is broken: it is refused, or goes on without the whole file, which is
    counted; then every file is read twice, first to see whether it is whole."""
    min_characters: int = 20
    """Shorter documents are dropped: they are headings and leftovers."""
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
        if not 0 <= self.heldout_fraction <= 0.5:
            raise ConfigError("corpus.heldout_fraction", self.heldout_fraction, "must be from 0 to 0.5")
        if self.delimiter is not None and (len(self.mark or "") != 1 or self.mark in ('"', "\n", "\r", " ", "\0")):
            raise ConfigError("corpus.delimiter", self.delimiter, "must be a single character, such as ; or |, or tab")

    @property
    def mark(self) -> str | None:
        """The delimiter as a character; None where the file tells it."""
        return "\t" if self.delimiter in ("tab", "\\t") else self.delimiter
