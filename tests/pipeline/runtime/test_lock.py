"""Two runs in one place: the second is refused, in this process as in another, and a dead holder holds nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.runtime.lock import NAME, alone
from pipeline.runtime.lock_owner import DEAD, LOCK, is_held, owner_of
from stages.errors import InputError
from stages.storage import Folder

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from pathlib import Path
from pipeline.runtime.lock import alone
from stages.storage import Folder
with alone(Path(sys.argv[1]), Folder(sys.argv[2]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(workdir: Path, storage: Path) -> "subprocess.Popen[str]":
    """A process that holds both, and has said so."""
    command = [sys.executable, "-c", HOLD, str(workdir), str(storage)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_alone_second_process_is_refused_in_one_sentence_and_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = hold(tmp_path / "a", tmp_path / "a")
    try:
        with pytest.raises(InputError) as raised, alone(tmp_path / "a", Folder(str(tmp_path / "a")), pytest.fail):
            pytest.fail("two at a time")
        said = str(raised.value)
        assert said.startswith(f"{tmp_path}/a is in use by `-c {tmp_path}/a")
        assert f"on {os.uname().nodename} (process {holder.pid}) since 20" in said
        assert "\n" not in said
        assert is_held(tmp_path / "a")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert not is_held(tmp_path / "a")
    with alone(tmp_path / "a", Folder(str(tmp_path / "a")), pytest.fail):
        assert json.loads((tmp_path / "a" / NAME).read_text())["pid"] == os.getpid()


def test_is_held_on_a_disk_without_locks_goes_by_the_claims_that_are_kept_alive(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    claim = tmp_path / LOCK / "0001-a.json"
    claim.parent.mkdir()
    claim.write_text("{}")
    assert is_held(tmp_path)
    os.utime(claim, (0, time.time() - DEAD - 1))
    assert not is_held(tmp_path)


def test_alone_two_workdirs_with_one_storage_exclude_one_another(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path / "shared"))
    with alone(tmp_path / "a", storage, pytest.fail):
        with pytest.raises(InputError, match="shared is in use by"), alone(tmp_path / "b", storage, pytest.fail):
            pytest.fail("two at a time")
        with alone(tmp_path / "b", Folder(str(tmp_path / "other")), pytest.fail):
            pass  # the refusal let go of b


def test_alone_is_free_again_after_the_block_however_it_ends(tmp_path: Path) -> None:
    held = 0
    for _ in range(2):
        with suppress(KeyboardInterrupt), alone(tmp_path, Folder(str(tmp_path)), pytest.fail):
            held += 1
            raise KeyboardInterrupt
    assert held == 2


def test_alone_workdir_by_a_symbolic_link_is_one_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with alone(tmp_path / "real", Folder(str(tmp_path / "link")), pytest.fail):
        assert owner_of((tmp_path / "real" / "run.lock").read_bytes()).pid == os.getpid()


def test_alone_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    """As Ray's processes may outlive a driver that was killed."""
    with alone(tmp_path, Folder(str(tmp_path)), pytest.fail):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with alone(tmp_path, Folder(str(tmp_path)), pytest.fail):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_alone_where_nothing_can_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="file/in cannot be written"),
        alone(tmp_path, Folder(str(tmp_path / "file" / "in")), pytest.fail),
    ):
        pytest.fail("held nothing")
