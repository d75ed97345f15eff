"""Holding a folder in an object store, where no file can be locked and pyarrow can put nothing conditionally.

A claim is an object `lock/<time>-<random>.json` that says who made it. All it needs of the store is that a listing
shows every object that was written before (S3 and GCS promise it).

- To take the folder: write a claim, then list. Alone there: it is held. Others there: all but the lowest name withdraw;
  the lowest looks again, a few times, and withdraws too while another stays.
- So no two hold it: each won by a listing that came after its own claim was written and showed no other, and of two
  claims one was written first and stands until it is let go.
- The holder writes its claim again every 10 s. A claim that is 60 s older than one's own, by the store's clock alone,
  is dead: whoever comes writes an object `<claim>.over` beside it, after which that claim counts for nobody, even if
  its owner wakes up and writes it again.
- A holder that finds such a mark beside its own claim has lost the folder, and stops.

What this cannot give: a holder that sleeps for more than 60 s (a suspended machine, a network cut) may write for up to
another 10 s before it finds out. Only a store that checks a token on every write could prevent that. What would be
written then is in folders by fingerprint, by the same config: the manifests' and records' digests tell.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from uuid import uuid4

import pyarrow.fs as pafs

from pipeline.runtime.lock_owner import DEAD, LOCK, LockOwner, refusal
from stages.errors import InputError
from stages.storage import Folder, filesystem_of

BEAT = 10.0
"""Seconds between two writes of a held claim."""
LOOKS = 5
"""How often the lowest of several claims looks whether the others have withdrawn, a second apart."""
_END, _OVER = ".json", ".over"


class StorageLock:
    """One claim on a folder: `take` it, `beat` while it is held, `release` it."""

    def __init__(self, folder: Folder, who: LockOwner) -> None:
        self.folder, self.who = folder / LOCK, who
        self.root = folder
        self.name = f"{time.time_ns():020d}-{uuid4().hex[:12]}"

    def take(self, pause: Callable[[float], None] = time.sleep) -> None:
        """Hold the folder from now on; raises `InputError` where another run does."""
        try:
            self._write()
        except OSError as error:
            why = str(error).splitlines()[0]
            raise InputError(f"{self.root} cannot be written ({why}): check the address and your access.") from error
        try:
            for _ in range(LOOKS):
                others = self._others()
                if not others:
                    return
                if min(others) < self.name:
                    break
                pause(1.0)
            raise refusal(self.root, self._said(min(others)))
        except BaseException:
            self.release()
            raise

    def beat(self) -> None:
        """Say that the claim is alive. Raises `InputError` where it was taken for dead and the folder is lost."""
        if not self.folder.exists(self.name + _OVER):
            self._write()
        if self.folder.exists(self.name + _OVER):  # after the write too: a mark that came in between counts
            self.release()
            raise InputError(
                f"{self.root} was taken over by another run, since this one had not been heard of for {DEAD:.0f} s; "
                "this one has stopped: the same command continues once the other has ended."
            )

    def release(self) -> None:
        """Withdraw the claim."""
        self._delete(self.name + _END)

    def _others(self) -> list[str]:
        """The names of the other claims that count. Those that are dead are marked, and deleted."""
        filesystem, path = filesystem_of(self.folder.uri)
        listed = {info.base_name: info for info in filesystem.get_file_info(pafs.FileSelector(path))}
        if self.name + _END not in listed or self.name + _OVER in listed:
            raise InputError(f"{self.root} is being taken by another run at this moment: give the command again.")
        mine = listed[self.name + _END]
        alive = []
        for file, info in listed.items():
            name = file.removesuffix(_END)
            if not file.endswith(_END) or name == self.name:
                continue
            if name + _OVER in listed:
                self._delete(file)
            elif _older(info, mine) > DEAD:
                self.folder.write_bytes(name + _OVER, json.dumps(asdict(self.who)).encode())
                self._delete(file)
            else:
                alive.append(name)
        return alive

    def _write(self) -> None:
        self.folder.write_bytes(self.name + _END, json.dumps(asdict(self.who)).encode())

    def _said(self, name: str) -> bytes:
        try:
            return self.folder.read_bytes(name + _END)
        except FileNotFoundError:  # it has ended since
            return b""

    def _delete(self, file: str) -> None:
        filesystem, path = filesystem_of(f"{self.folder.uri}/{file}")
        with suppress(FileNotFoundError):  # somebody else was faster
            filesystem.delete_file(path)


def _older(one: pafs.FileInfo, than: pafs.FileInfo) -> float:
    """Seconds by the store's clock; 0 where it tells no times, and then no claim is ever taken for dead."""
    return 0.0 if one.mtime is None or than.mtime is None else (than.mtime - one.mtime).total_seconds()


@contextmanager
def storage_locked(
    folder: Folder, who: LockOwner, on_lost: Callable[[Exception], None], every: float = BEAT
) -> Iterator[None]:
    """Hold `folder` while the block runs, renewed by a thread; raises `InputError` where somebody else holds it.

    `on_lost` is called from the thread, once, with the `InputError` to stop with. While the store does not answer,
    the thread goes on trying: it finds out afterwards whether the folder is still held.
    """
    claim, over = StorageLock(folder, who), threading.Event()
    claim.take()

    def renew() -> None:
        while not over.wait(every):
            try:
                claim.beat()
            except InputError as lost:
                on_lost(lost)
                return
            except OSError:  # the store is away: the next beat finds out who holds the folder
                continue

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=every)
        claim.release()
