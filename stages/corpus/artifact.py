"""What the corpus stage makes."""

from dataclasses import dataclass

from stages.storage import Folder

SKIPPED = "skipped.txt"
"""In the stage's folder: a line for each file that was skipped, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Clean documents. Shards are Parquet files with the columns `id` and `text`, named relative to `folder`."""

    folder: Folder
    documents: int
    heldout_documents: int
    characters: int
    heldout_characters: int
    digest: str
    """SHA-256 over all documents' ids in their order, train and then held-out, shard by shard."""
    shards: tuple[str, ...]
    heldout_shards: tuple[str, ...]
    skipped_files: int = 0
    """Damaged ones that were left out by choice; `skipped.txt` names them."""

    @property
    def notice(self) -> str:
        """A sentence on what is missing; empty where nothing is."""
        place = f"{self.folder}/{SKIPPED} says which and why"
        return f"corpus: {self.skipped_files:,} damaged files were skipped; {place}." if self.skipped_files else ""
