"""Two small stages, to run, reuse and stop."""

from dataclasses import dataclass

from stages.context import StageContext, not_fingerprinted, stage
from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Words:
    text: str = "to be or not to be"
    workers: int = not_fingerprinted(1)


@dataclass(frozen=True, kw_only=True)
class Counting:
    least: int = 1
    fail: bool = not_fingerprinted(False)


@dataclass(frozen=True, kw_only=True)
class File:
    folder: Folder
    words: int


@stage(name="gather", version=1)
def gather(config: Words, context: StageContext) -> File:
    context.folder.write_bytes("words.txt", config.text.encode())
    return File(folder=context.folder, words=len(config.text.split()))


@stage(name="count", version=1)
def count(config: Counting, gathered: File, earlier: File | None, context: StageContext) -> File:
    """Leaves a file behind when it fails, and says in its result whether it found one."""
    found = context.folder.exists("half.txt")
    context.folder.write_bytes("half.txt", b"")
    context.on_progress(1, 2, "words")
    context.on_metrics(1, {"found": float(found)})
    if config.fail:
        raise RuntimeError("the power went out")
    words = gathered.folder.read_bytes("words.txt").decode().split()
    return File(folder=context.folder / "counts", words=sum(words.count(word) >= config.least for word in words))
