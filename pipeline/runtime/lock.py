"""One `distil run` or `distil tune` at a time in a workdir and in a storage: a second one is refused, and told by whom.

On a disk it is flock(2): the kernel lets go of it when its holder ends, however it ends, so there are no stale locks.
The file's content only says who holds it. Where `storage` is an object store, `storage_lock.py` does it.
"""

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from pipeline.runtime.lock_owner import NAME, me, refusal
from pipeline.runtime.storage_lock import storage_locked
from stages.errors import InputError
from stages.storage import Folder

UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What flock says on a file system that has no locks (some NFS and Lustre mounts)."""


@contextmanager
def alone(workdir: Path, root: Folder, on_lost: Callable[[Exception], None]) -> Iterator[None]:
    """Hold workdir and root while the block runs. Raises `InputError` where another run holds one of them.

    `on_lost` is called, from a thread, should an object store's lease go to somebody else meanwhile.
    """
    with ExitStack() as held:
        held.enter_context(locked(Folder(str(workdir)), on_lost))
        if not (root.is_local and root.path.resolve() == workdir.resolve()):
            held.enter_context(locked(root, on_lost))
        yield


@contextmanager
def locked(folder: Folder, on_lost: Callable[[Exception], None]) -> Iterator[None]:
    """Hold one folder while the block runs; raises `InputError` where somebody else does."""
    file = open_file(folder) if folder.is_local else None
    if file is None:
        with storage_locked(folder, me(), on_lost):
            yield
        return
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(asdict(me())).encode(), 0)
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)  # the file stays: were it removed, two could hold one each of the same name


def open_file(folder: Folder) -> int | None:
    """The locked file's descriptor, which no child process inherits; None on a file system without locks."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        file = os.open(folder.path / NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): give another workdir or storage.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        said = os.pread(file, 1 << 16, 0)
        os.close(file)
        if error.errno in UNSUPPORTED:
            return None
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise refusal(folder, said) from None
        raise
    return file
