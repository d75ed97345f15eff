"""What the tasks of a stage have finished, left in its folder: a stage that was stopped goes on with the others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from stages.storage import Folder

AT_A_TIME = 16
"""Files read at once: each takes some 50 ms in an object store."""


@dataclass(frozen=True, kw_only=True)
class FinishedTasks:
    """Each task's result as a text of its own, written once all that it tells of is there. Of other work than `work`
    nothing is found: where the code has come to divide it otherwise, the tasks are others."""

    folder: Folder
    work: str
    """What bears on what each task makes, in whatever words."""

    def leave(self, task: int, result: str) -> None:
        """Say that a task is done; its result is then found whole, or not at all."""
        self.folder.write_bytes(f"{task:06d}{self._ending}", result.encode())

    def find(self) -> Iterator[tuple[int, str]]:
        """(task, result) of those that were left, some at a time: together they may be large."""
        names = [name for name in self.folder.names() if name.endswith(self._ending)]
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            for begin in range(0, len(names), AT_A_TIME):
                some = names[begin : begin + AT_A_TIME]
                for name, found in zip(some, threads.map(self.folder.read_bytes, some), strict=True):
                    yield int(name.removesuffix(self._ending)), found.decode()

    @property
    def _ending(self) -> str:
        return f".{sha256(self.work.encode()).hexdigest()[:16]}.json"
