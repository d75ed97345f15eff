"""Claims on a folder that is reached as an object store is: who gets it, who loses it, who is taken for dead."""

import os
import threading
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
from object_store import ObjectStore

from pipeline.runtime.lock import alone
from pipeline.runtime.lock_owner import LockOwner
from pipeline.runtime.storage_lock import BEAT, DEAD, LOCK, StorageLock, storage_locked
from stages.errors import InputError
from stages.storage import Folder


@pytest.fixture
def disk(tmp_path: Path) -> Folder:
    """A folder whose files' ages a test can set."""
    return Folder(f"file://{tmp_path}/bucket")


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, disk: Folder, s3: ObjectStore, tmp_path: Path) -> Folder:
    return disk if request.param == "disk" else Folder(f"{s3.address}/{tmp_path.name}/bucket")


def claim(folder: Folder, name: str) -> StorageLock:
    """One whose place in the order is known."""
    made = StorageLock(folder, LockOwner(host=name, pid=1, since="2026-01-01T00:00:00Z", command="distil run demo"))
    made.name = name
    return made


def unheard_of_for(seconds: float, one: StorageLock) -> None:
    """Age a claim, as the store tells its age."""
    file = Path(one.folder.uri.removeprefix("file://")) / f"{one.name}.json"
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))


def no_pause(seconds: float) -> None:
    """Nobody withdraws meanwhile."""


@pytest.mark.parametrize("second", ["a", "z"])
def test_take_of_a_held_folder_is_refused_whichever_name_is_lower(folder: Folder, second: str) -> None:
    claim(folder, "m").take()
    with pytest.raises(InputError, match=r"bucket is in use by `distil run demo` on m \(process 1\) since 2026"):
        claim(folder, second).take(no_pause)
    assert (folder / LOCK).names() == ["m.json"], "who is refused leaves nothing"


def test_take_after_release_succeeds_at_once(folder: Folder) -> None:
    first = claim(folder, "a")
    first.take()
    first.release()
    claim(folder, "b").take(no_pause)
    assert (folder / LOCK).names() == ["b.json"]


def test_take_lower_of_two_that_came_together_gets_it_once_the_other_has_withdrawn(folder: Folder) -> None:
    lower, higher = claim(folder, "a"), claim(folder, "b")
    higher._write()  # both have written and nobody has looked yet
    refused: list[InputError] = []

    def higher_looks(seconds: float) -> None:
        with pytest.raises(InputError) as raised:
            higher.take(no_pause)
        refused.append(raised.value)

    lower.take(higher_looks)
    assert "on a (process 1)" in str(refused[0])
    assert (folder / LOCK).names() == ["a.json"]


class Turns:
    """Three takers, stepped through one store operation at a time, in a given order of turns.

    A turn lasts from its operation to the taker's next one, or to its end: nothing is left to the threads' scheduler.
    """

    def __init__(self, folder: Folder, order: tuple[str, ...], operations: tuple[str, ...]) -> None:
        self.order, self.operations = order, operations
        self.winners: list[str] = []
        self.refusals: list[str] = []
        self.problems: list[BaseException] = []
        self.at = 0
        self.turn = threading.Condition()
        self.left, self.running = set(order), ""
        self.threads = [threading.Thread(target=self.work, args=(folder, name)) for name in sorted(self.left)]

    def work(self, folder: Folder, name: str) -> None:
        one = claim(folder, name)
        for operation in self.operations:
            setattr(one, operation, self.in_turn(name, getattr(one, operation)))
        try:
            one.take(no_pause)
            self.winners.append(name)
        except InputError as refusal:
            self.refusals.append(str(refusal))
        except BaseException as problem:  # shown by the test: a thread's own is not
            self.problems.append(problem)
        with self.turn:
            self.left.discard(name)
            self.pass_on(name)

    def pass_on(self, name: str) -> None:
        """End this taker's turn, where it is its turn."""
        if self.running == name:
            self.running = ""
        self.turn.notify_all()

    def in_turn(self, name: str, action: Callable[..., object]) -> Callable[..., object]:
        def when_it_is_ours(*arguments: object) -> object:
            with self.turn:
                self.pass_on(name)
                assert self.turn.wait_for(lambda: not self.running and self.current() == name, timeout=20)
                self.at, self.running = self.at + 1, name
            return action(*arguments)

        return when_it_is_ours

    def current(self) -> str:
        while self.order[self.at % len(self.order)] not in self.left:
            self.at += 1
        return self.order[self.at % len(self.order)]

    def run(self) -> list[str]:
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join(30)
        assert self.problems == []
        assert all("in use by" in refusal for refusal in self.refusals)
        assert len(self.winners) + len(self.refusals) == len(self.threads)
        return self.winners


ORDERS = [*permutations("abc"), ("a", "a", "b", "b", "c"), ("c", "b", "b", "a", "a", "a")]


@pytest.mark.parametrize("order", ORDERS)
def test_take_three_at_once_has_one_holder(disk: Folder, order: tuple[str, ...]) -> None:
    assert len(Turns(disk, order, ("_write", "_others")).run()) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_take_three_that_withdraw_late_never_has_two_holders(disk: Folder, order: tuple[str, ...]) -> None:
    """A withdrawal waits for its turn too, so the lowest may have looked for the last time before it: then nobody holds
    the folder, and all are told to try again."""
    winners = Turns(disk, order, ("_write", "_others", "_delete")).run()
    assert len(winners) <= 1
    assert (disk / LOCK).names() == [f"{name}.json" for name in winners]


def test_take_a_dead_holder_s_folder_and_the_dead_one_finds_out(disk: Folder) -> None:
    dead, heir = claim(disk, "a"), claim(disk, "b")
    dead.take()
    unheard_of_for(DEAD - 5, dead)
    with pytest.raises(InputError, match="in use"):
        heir.take(no_pause)
    unheard_of_for(10, dead)
    heir.take(no_pause)
    with pytest.raises(InputError, match=r"taken over by another run.*not been heard of for 60 s"):
        dead.beat()
    heir.beat()


def test_beat_keeps_a_claim_alive(disk: Folder) -> None:
    holder = claim(disk, "a")
    holder.take()
    unheard_of_for(DEAD + 5, holder)
    holder.beat()
    with pytest.raises(InputError, match="in use"):
        claim(disk, "b").take(no_pause)


def test_a_claim_written_again_by_one_that_was_taken_for_dead_counts_for_nobody(disk: Folder) -> None:
    dead, heir = claim(disk, "a"), claim(disk, "b")
    dead.take()
    unheard_of_for(DEAD + 5, dead)
    heir.take(no_pause)
    dead._write()  # it wakes up in the middle of its heartbeat
    heir.release()
    claim(disk, "c").take(no_pause)
    assert [name for name in (disk / LOCK).names() if name.endswith(".json")] == ["c.json"]


def test_leased_that_is_taken_over_tells_so_from_its_thread(folder: Folder) -> None:
    told, received = threading.Event(), []
    who = LockOwner(host="h", pid=1, since="", command="distil")

    def on_lost(error: Exception) -> None:
        received.append(error)
        told.set()

    with storage_locked(folder, who, on_lost, every=0.05):
        (name,) = (folder / LOCK).names()
        (folder / LOCK).write_bytes(name.replace(".json", ".over"), b"")
        assert told.wait(20)
    assert isinstance(received[0], InputError)
    assert BEAT < DEAD / 3, "two beats may fail"


def test_alone_on_an_object_store_leaves_it_free(tmp_path: Path, folder: Folder) -> None:
    for _ in range(2):
        with alone(tmp_path / "work", folder, pytest.fail):
            with pytest.raises(InputError, match="bucket is in use"), alone(tmp_path / "w2", folder, pytest.fail):
                pytest.fail("two at a time")
            assert len((folder / LOCK).names()) == 1
        assert (folder / LOCK).names() == []
