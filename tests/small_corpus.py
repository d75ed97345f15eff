"""A corpus of given texts as the stage before leaves it, and a tokenizer beside it, for the tests of packing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from published import as_bert

from stages.corpus.artifact import Corpus
from stages.storage import Folder


@dataclass(frozen=True)
class Source:
    """Where the tokenizer lies."""

    folder: Folder
    objective: Literal["masked", "causal"] = "masked"


def write(file: Path, texts: list[str]) -> None:
    """A shard of documents."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": [str(i) for i in range(len(texts))], "text": texts}), file)


def corpus_of(folder: Path, shards: dict[str, list[str]], tokenizer_json: str) -> tuple[Corpus, Source]:
    """`shards`: documents by the shard's name, which begins with `train` or `heldout`."""
    for name, texts in shards.items():
        write(folder / "corpus" / name, texts)
    as_bert(tokenizer_json).save_pretrained(folder)
    parts = [tuple(n for n in shards if n.startswith(p)) for p in ("train", "heldout")]
    corpus = Corpus(
        folder=Folder(str(folder / "corpus")), documents=0, heldout_documents=0, characters=0, heldout_characters=0,
        digest="", shards=parts[0], heldout_shards=parts[1],
    )  # fmt: skip
    return corpus, Source(Folder(str(folder)))
