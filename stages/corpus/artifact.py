"""What the corpus stage makes."""

from dataclasses import dataclass

from stages.storage import Folder

SKIPPED = "skipped.txt"
"""In the stage's folder: a line for each file that was skipped or left out, with the reason."""
DROPPED = "dropped.txt"
"""The same of documents that cleaning dropped: for each step how many, and the beginnings of ten."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Clean documents. Shards are Parquet files with the columns `id` and `text`, named relative to `folder`."""

    folder: Folder
    documents: int
    heldout_documents: int
    characters: int
    heldout_characters: int
    digest: str
    """Of all documents' ids in their order, train and then held-out: the same however the corpus is cut into shards. In
    records from before it was, a SHA-256 shard by shard."""
    shards: tuple[str, ...]
    heldout_shards: tuple[str, ...]
    skipped_files: int = 0
    """Damaged ones that were left out by choice; `skipped.txt` names them."""
    left_out: int = 0
    """Files, and folders as one each, that a path of the config meets and does not mean: hidden ones, a table's log,
    what runs made; `skipped.txt` names them too."""
    cleaned: int = 0
    """Documents that the steps of `corpus.clean` dropped; `dropped.txt` counts them by step and shows some."""
    language: str = "en"
    """Of the text, ISO 639-1, as the config says."""

    @property
    def notice(self) -> str:
        """A sentence on what is missing; empty where nothing is."""
        damaged = f"{self.skipped_files:,} damaged files were skipped" if self.skipped_files else ""
        left_out = f"{self.left_out:,} files or folders were left out as no text" if self.left_out else ""
        said = " and ".join(filter(None, (damaged, left_out)))
        why = f"corpus: {said}; {self.folder}/{SKIPPED} says which and why." if said else ""
        cleaned = f"corpus: cleaning dropped {self.cleaned:,} documents; {self.folder}/{DROPPED} shows some of them."
        return " ".join(filter(None, (why, cleaned if self.cleaned else "")))
