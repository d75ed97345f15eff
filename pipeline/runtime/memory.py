"""Peak memory of a run: all its processes together, shared memory counted once.

Adding up resident sizes counts every shared page once a process, which for a dozen Python workers over one object
store is far too much. PSS divides a shared page by the number of processes that map it, so a sum of PSS is right but
for one case: an object in Ray's store that no live process has mapped yet is in nobody's PSS. Its pages are seen in
the store's file (unlinked, but the raylet holds it open), and what the sum misses of it is added.
"""

import os
import resource
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

PROC = Path("/proc")
MIB = 1024 * 1024
REFRESH = 20.0
"""Seconds after which a process is read exactly again, even if it seems unchanged."""
MOVED = 2 * MIB
"""A change of a process's shared pages from which on it is read exactly at once."""


class Process(NamedTuple):
    """What /proc/<pid>/stat says; pid and birth together name a process for good, a pid alone may be reused."""

    pid: int
    parent: int
    birth: int
    command: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One exact look at a process, in bytes: PSS and its part in shared memory, beside what `statm` said then."""

    pss: int
    pss_shmem: int
    private: int
    shared: int
    at: float


def processes() -> list[Process]:
    """All processes of this machine; those that end while we look are left out."""
    found = []
    for name in os.listdir(PROC):
        if name.isdigit() and (text := _read(f"/proc/{name}/stat")):
            head, _, tail = text.rpartition(")")  # a command may hold blanks and parentheses itself
            fields = tail.split()
            found.append(Process(int(name), int(fields[1]), int(fields[19]), head.partition("(")[2]))
    return found


def descendants(root: int, table: list[Process], known: set[tuple[int, int]]) -> list[Process]:
    """`root` and all below it, and those seen there before (`known`: pid, birth), whoever adopted them since."""
    children: dict[int, list[Process]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process)
    queue = [p for p in table if p.pid == root or (p.pid, p.birth) in known]
    family: dict[int, Process] = {}
    while queue:
        process = queue.pop()
        if process.pid not in family:
            family[process.pid] = process
            queue += children.get(process.pid, [])
    return list(family.values())


class Meter:
    """Measures the family of one process, again and again, cheaply.

    Reading `smaps_rollup` walks page tables (1 to 2 ms per 80 MiB), `statm` does not (20 µs). Private pages count
    fully in PSS, so between two exact readings PSS moves by what `statm` says of them; only a change of shared pages
    asks for another exact reading.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._readings: dict[tuple[int, int], Reading] = {}
        self._stores: dict[tuple[int, int], list[str]] = {}

    def bytes(self) -> int:
        """Memory of the whole family now."""
        family = descendants(self._root, processes(), set(self._readings))
        names = {(p.pid, p.birth) for p in family}
        self._readings = {name: reading for name, reading in self._readings.items() if name in names}
        total = mapped = 0
        for process in family:
            pss, shmem = self._measure(process)
            total, mapped = total + pss, mapped + shmem
        return total + max(0, self._store_bytes(family) - mapped)

    def _measure(self, process: Process) -> tuple[int, int]:
        """(PSS, its part in shared memory) of one process; zeros once it is gone."""
        name = process.pid, process.birth
        private, shared = _statm(process.pid)
        last = self._readings.get(name)
        stale = last is None or time.monotonic() - last.at > REFRESH or abs(shared - last.shared) > MOVED
        if stale or last is None:
            last = self._readings[name] = _exact(process.pid, private, shared)
        return max(0, last.pss + private - last.private), last.pss_shmem

    def _store_bytes(self, family: list[Process]) -> int:
        """Bytes in the files of Ray's object stores, mapped or not; a file held open twice counts once."""
        files = {}
        for process in family:
            if process.command == "raylet":
                name = process.pid, process.birth
                self._stores[name] = self._stores.get(name) or _plasma_files(process.pid)
                for link in self._stores[name]:
                    if status := _stat(link):
                        files[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(files.values())


class PeakMemory:
    """`with PeakMemory() as memory: ...; memory.peak_mb`: sampled from a thread, also while the block still runs.

    Sees this machine only. Without /proc (macOS) it is this process's own peak, which is too little and all there is.
    """

    def __init__(self, interval: float = 2.0) -> None:
        """`interval`: seconds between samples; shorter peaks may be missed."""
        self._interval = interval
        self._meter = Meter(os.getpid())
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._peak = 0
        self._thread = threading.Thread(target=self._work, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        """The highest sample so far, the present moment included, in MiB."""
        return self.sample() / MIB

    def sample(self) -> int:
        """Measure now; the highest value so far, in bytes."""
        with self._lock:
            self._peak = max(self._peak, self._meter.bytes() if PROC.is_dir() else _own_peak())
            return self._peak

    def _work(self) -> None:
        self.sample()
        while not self._done.wait(self._interval):
            self.sample()


def _read(path: str) -> str:
    """A file of /proc as text; empty where the process is gone or not ours to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _stat(path: str) -> os.stat_result | None:
    """The status of an open file of another process; None once that is gone."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _statm(pid: int) -> tuple[int, int]:
    """(private, shared) resident bytes; shared is what has a file or shared memory behind it."""
    fields = _read(f"/proc/{pid}/statm").split()
    if not fields:
        return 0, 0
    resident, shared = (int(field) * resource.getpagesize() for field in fields[1:3])
    return resident - shared, shared


def _exact(pid: int, private: int, shared: int) -> Reading:
    """Read PSS from `smaps_rollup`; where the kernel does not tell (old, or not ours), the resident size."""
    pairs = (line.split(":") for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:])
    kib = {key: int(value.split()[0]) for key, value in pairs}
    pss = 1024 * kib["Pss"] if "Pss" in kib else private + shared
    return Reading(
        pss=pss, pss_shmem=1024 * kib.get("Pss_Shmem", 0), private=private, shared=shared, at=time.monotonic()
    )


def _plasma_files(pid: int) -> list[str]:
    """/proc links to the files in which a raylet keeps objects."""
    folder, found = f"/proc/{pid}/fd", []
    try:
        links = [f"{folder}/{name}" for name in os.listdir(folder)]
        found = [link for link in links if "/plasma" in os.readlink(link)]
    except OSError:  # the raylet closed a file or ended meanwhile: looked for again at the next sample
        return []
    return found


def _own_peak() -> int:
    """The peak resident size of this process alone, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
