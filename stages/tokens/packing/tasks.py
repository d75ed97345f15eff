"""A shard of documents a task: run by Ray Data, and by what earlier tasks left where a packing was stopped."""

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import ray
from numpy.typing import NDArray

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.errors import unwrap
from stages.finished_tasks import FinishedTasks
from stages.storage import Folder
from stages.tokens.config import TokensConfig
from stages.tokens.packing.shard import Packed, pack_shard
from stages.tokens.vocabulary import Vocabulary

FINISHED = "finished"
"""In the stage's folder: a file for each shard that is packed."""
TASK_BYTES, CHARACTER_BYTES = 400 << 20, 8
"""Memory of a task at its peak: for tokenising a million characters at a time, the process's own left out, and for each
character of its shard: measured with documents of half a million, which are the worst."""
MOST_CHARACTERS = 1 << 26
"""Of a shard, but for its last document."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is packed and how; the same for all tasks."""

    config: TokensConfig
    corpus: Corpus
    tokenizer_json: str
    vocabulary: Vocabulary
    target: Folder

    @property
    def names(self) -> list[str]:
        """The corpus's shards; a task's number is a shard's place among them."""
        return [*self.corpus.shards, *self.corpus.heldout_shards]

    @property
    def finished(self) -> FinishedTasks:
        """Those of the same text, packed in the same way."""
        same = (self.config, self.corpus.digest, self.corpus.language, self.names, self.tokenizer_json)
        return FinishedTasks(folder=self.target / FINISHED, work=repr(same))

    def pack(self, task: int) -> str:
        """Pack a shard; its result as text, which is left for whoever goes on after a stop."""
        name = self.names[task]
        halved = self.config.packing == "documents" and name in self.corpus.heldout_shards
        packed = pack_shard(
            self.config,
            self.corpus.folder,
            name,
            self.tokenizer_json,
            self.vocabulary,
            self.target,
            self.corpus.language,
            halved=halved,
        )
        self.finished.leave(task, result := to_text(packed))
        return result


def pack_all(work: Work, context: StageContext) -> Iterator[tuple[str, Packed]]:
    """(name, what was found) of every shard as it comes, those that an earlier start had finished first."""
    done: set[int] = set()
    for task, text in _made_before(work):
        done.add(task)
        yield work.names[task], from_text(text)
    if done:
        context.on_notice(
            f"tokens: {len(done):,} of {len(work.names):,} shards had been packed before and are not packed again."
        )
    left = [task for task in range(len(work.names)) if task not in done]
    if not left:
        return
    shared = ray.put(work)

    def pack(batch: dict[str, NDArray[np.int64]]) -> dict[str, list[object]]:
        (task,) = batch["item"]
        return {"task": [int(task)], "result": [ray.get(shared).pack(int(task))]}

    booked = _memory(work.corpus)
    tasks = ray.data.from_items(left, override_num_blocks=len(left))
    try:
        for row in tasks.map_batches(pack, batch_size=1, num_cpus=0.5, memory=booked).iter_rows():
            yield work.names[row["task"]], from_text(row["result"])
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error


def _made_before(work: Work) -> Iterator[tuple[int, str]]:
    """The results of shards that are packed, and there."""
    there = {f"{side}/{name}" for side in {name.split("/")[0] for name in work.names} for name in _names(work, side)}
    return ((task, text) for task, text in work.finished.find() if work.names[task] in there)


def _names(work: Work, side: str) -> list[str]:
    return (work.target / side).names()


def _memory(corpus: Corpus) -> int | None:
    """Bytes that a task books, so that a machine with many cores runs no more of them than it has memory for. Never
    more than half of what the largest machine has: it would wait for ever."""
    average = corpus.characters // max(1, len(corpus.shards))
    needed = TASK_BYTES + CHARACTER_BYTES * min(2 * average, corpus.characters, MOST_CHARACTERS)
    largest = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    return int(min(needed, largest // 2)) or None


def to_text(packed: Packed) -> str:
    """A result as a line of JSON, its counts compressed: a hundred kilobytes."""
    counts = base64.b64encode(zlib.compress(packed.counts_V.astype("<i8").tobytes(), level=1)).decode()
    return json.dumps(asdict(replace(packed, counts_V=np.empty(0, np.int64))) | {"counts_V": counts})


def from_text(text: str) -> Packed:
    """What `to_text` wrote."""
    said = json.loads(text)
    counts = np.frombuffer(zlib.decompress(base64.b64decode(said["counts_V"])), dtype="<i8")
    return Packed(**said | {"counts_V": counts.astype(np.int64)})
