"""The sum over processes, against memory whose size the test itself decides."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.runtime.memory import MIB, Meter, PeakMemory, Process, descendants

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's smaps_rollup")

WAIT = "\nprint('ready', flush=True); input()"


@contextmanager
def children(code: str, count: int = 1) -> Iterator[None]:
    """`count` processes that ran `code` and now wait, for as long as the block lasts."""
    started = [
        subprocess.Popen([sys.executable, "-c", code + WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        for child in started:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        yield
    finally:
        for child in started:
            child.communicate(b"\n")


@pytest.fixture
def shm() -> Iterator[str]:
    """The path of a file in shared memory, gone afterwards."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield f"{folder}/plasma-of-a-test"


def grown(code: str, count: int = 1) -> float:
    """By how many MiB this process's family grows with `count` processes that ran `code`."""
    before = Meter(os.getpid()).bytes()
    with children(code, count):
        return (Meter(os.getpid()).bytes() - before) / MIB


def test_meter_child_holds_memory_counts_its_pages() -> None:
    assert grown(f"held = bytearray(b'x') * {96 * MIB}") - grown("") == pytest.approx(96, abs=4)


def test_meter_child_grows_between_two_looks_is_seen_by_the_same_meter() -> None:
    code = f"print('ready', flush=True); input(); held = bytearray(b'x') * {48 * MIB}"
    child = subprocess.Popen([sys.executable, "-c", code + WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    meter = Meter(os.getpid())
    before = meter.bytes()
    child.stdin.write(b"grow\n")
    child.stdin.flush()
    child.stdout.readline()
    after = meter.bytes()
    child.communicate(b"\n")
    assert (after - before) / MIB == pytest.approx(48, abs=4)


def test_meter_memory_shared_by_four_children_counts_once(shm: str) -> None:
    with open(shm, "wb") as file:
        file.write(os.urandom(64 * MIB))
    code = f"import mmap; f = open({shm!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); m.find(b'~' * 99)"
    assert grown(code, 4) - grown("import mmap", 4) == pytest.approx(64, abs=6)


def test_meter_objects_nobody_maps_count_as_the_stores_file(shm: str) -> None:
    """As in Ray: the raylet holds an unlinked file open, whose writer is gone."""
    store = (
        f"file = open({shm!r}, 'wb'); file.write(bytes(48 * {MIB})); file.flush(); "
        f"import os; os.unlink({shm!r}); open('/proc/self/comm', 'w').write('raylet')"
    )
    assert grown(store) - grown("") == pytest.approx(48, abs=4)


def test_descendants_grandchild_is_found_and_a_stranger_is_not() -> None:
    table = [Process(1, 0, 0, "init"), Process(10, 1, 5, "a"), Process(11, 10, 6, "b"), Process(12, 11, 7, "c")]
    table.append(Process(20, 1, 8, "stranger"))
    assert {p.pid for p in descendants(10, table, set())} == {10, 11, 12}


def test_descendants_orphan_seen_before_stays_and_a_reused_pid_does_not() -> None:
    table = [Process(10, 1, 5, "a"), Process(12, 1, 7, "orphan"), Process(13, 12, 9, "below")]
    table.append(Process(14, 1, 99, "new"))
    known = {(12, 7), (14, 8)}
    assert {p.pid for p in descendants(10, table, known)} == {10, 12, 13}


def test_peak_memory_short_child_is_remembered_after_it_ended() -> None:
    with PeakMemory(interval=0.05) as memory:
        before = memory.peak_mb
        code = f"data = bytearray(b'x') * {80 * MIB}; import time; time.sleep(0.6)"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert memory.peak_mb - before > 70


def test_peak_memory_sampling_costs_little() -> None:
    """Twenty idle processes: a sample is milliseconds of one core, at one sample every two seconds."""
    with children("", 20):
        meter = Meter(os.getpid())
        meter.bytes()
        start = time.thread_time()
        for _ in range(10):
            meter.bytes()
        seconds = (time.thread_time() - start) / 10
    assert seconds < 0.02, f"{seconds * 1000:.1f} ms is over 1 % of a core at one sample every two seconds"


def test_peak_memory_leaves_no_thread_behind() -> None:
    with PeakMemory():
        assert any(thread.name == "peak-memory" for thread in threading.enumerate())
    assert not any(thread.name == "peak-memory" for thread in threading.enumerate())
