"""What the tasks of a stage have finished, left in its folder: a stage that was stopped goes on with the others."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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

    def find(self) -> dict[int, str]:
        """The results that were left, by task."""
        names = [name for name in self.folder.names() if name.endswith(self._ending)]
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            results = list(threads.map(partial(Folder.read_bytes, self.folder), names))
        return {
            int(name.removesuffix(self._ending)): found.decode() for name, found in zip(names, results, strict=True)
        }

    @property
    def _ending(self) -> str:
        return f".{sha256(self.work.encode()).hexdigest()[:16]}.json"
