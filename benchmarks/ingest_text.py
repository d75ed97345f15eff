"""Text of any size for benchmarks/ingest.py, and one pass of it through the stages `corpus` and `tokens`."""

import json
import random
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.runtime.cluster import start_local
from pipeline.runtime.memory import PeakMemory
from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.corpus.config import CorpusConfig
from stages.corpus.stage import gather
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.tokens.config import TokensConfig
from stages.tokens.stage import pack

ROOT = Path(__file__).resolve().parent.parent
LENGTHS = {"short": 300, "articles": 3_000, "books": 400_000}
"""Characters of a document."""


@dataclass(frozen=True)
class Source:
    """Whose tokenizer it is."""

    folder: Folder
    objective: Literal["masked", "causal"] = "masked"


DEMO = Source(Folder(str(ROOT / "stages" / "teacher" / "demo")))


def paragraphs() -> list[str]:
    """Of this repository's own documentation."""
    texts = [file.read_text(encoding="utf-8") for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])]
    return [one for text in texts for one in re.split(r"\n\s*\n", text) if len(one) > 200 and "|" not in one]


def write_text(file: Path, megabytes: float, kind: str = "articles") -> Path:
    """A .jsonl file of so many bytes: paragraphs in random order, each with a number of its own as salt."""
    rng, pool, size = random.Random(0), paragraphs(), 0
    with file.open("w", encoding="utf-8") as out:
        while size < megabytes * 1e6:
            parts: list[str] = []
            while sum(map(len, parts)) < LENGTHS[kind] and sum(map(len, parts[:1])) * len(parts) < 2 * LENGTHS[kind]:
                parts.append(f"{rng.choice(pool)} Number {rng.getrandbits(40)}.")
            size += out.write(json.dumps({"text": " ".join(parts)[: LENGTHS[kind]]}) + "\n")
    return file


def gathered(file: Path, folder: Path) -> Corpus:
    """The stage `corpus`; of a few books more is held out, so that some are."""
    config = CorpusConfig(paths=(str(file),), heldout_fraction=0.3 if file.stem == "books" else 0.02)
    return gather(config, StageContext(folder=Folder(str(folder / "corpus" / "0")), seed=0))


def packed(corpus: Corpus, folder: Path) -> Blocks:
    """The stage `tokens`."""
    context = StageContext(folder=Folder(str(folder / "tokens" / "0")), seed=0)
    return pack(TokensConfig(block_length=128), corpus, DEMO, context)


def main() -> None:
    """FILE FOLDER CPUS: both stages in this process, with a Ray of its own; its last line says what that took."""
    file, folder, cpus = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    start_local(cpus)
    started = time.perf_counter()
    with PeakMemory() as peak:
        blocks = packed(gathered(file, folder), folder)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak.peak_mb, "rows": blocks.rows}))


if __name__ == "__main__":
    main()
