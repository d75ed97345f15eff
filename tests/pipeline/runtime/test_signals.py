"""SIGTERM in this very process: when it raises, when it only asks, and that the old handler comes back."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from words import File, Words
from words import gather as gather_words

from pipeline.records.reuse import Reuse
from pipeline.runtime.signals import StopSignal, Terminated, stopping
from pipeline.tuning.trial import Unwatched
from stages.context import StageContext, stage
from stages.errors import InputError, Preempted
from stages.storage import Folder


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def survivor() -> Iterator[None]:
    """A handler that fails the test rather than ending pytest, and that must be back afterwards."""
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM reached the old handler"))
    mine = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) is mine
    signal.signal(signal.SIGTERM, before)


ROOT = Path(__file__).resolve().parents[3]
ON_A_TERMINAL = """
import sys, time
from pathlib import Path
from pipeline.runtime.signals import Terminated, stopping
try:
    with stopping():
        print("ready", flush=True)
        time.sleep(60)
except Terminated as stop:
    print("saving", flush=True)
    print("saving", file=sys.stderr, flush=True)
    Path(sys.argv[1]).write_text(stop.signal)
"""


def while_stopping(action: Callable[[StopSignal], None]) -> None:
    """The action, with SIGTERM listened to; it must not come to its end."""
    with stopping() as stop:
        action(stop)
        pytest.fail("went on")


def test_sigterm_outside_of_a_training_raises_at_once() -> None:
    with pytest.raises(Terminated):
        while_stopping(lambda stop: terminate())


def test_sigterm_during_a_training_asks_and_the_second_one_raises() -> None:
    asked: list[bool] = []

    def training(stop: StopSignal) -> None:
        for _ in range(2):
            asked.append(stop.should_stop())
            terminate()

    with pytest.raises(Terminated):
        while_stopping(training)
    assert asked == [False, True]


def test_sighup_of_a_terminal_that_closes_is_heard_and_nothing_fails_for_want_of_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path / "saved")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(theirs)
    assert os.read(ours, 100).startswith(b"ready")
    os.close(ours)
    assert process.wait(30) == 0
    assert (tmp_path / "saved").read_text() == "SIGHUP"


def test_sighup_that_nohup_had_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.asked
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigterm_while_the_driver_waits_for_ray_is_raised_at_once(ray_session: None) -> None:
    """Ray lets only KeyboardInterrupt out of `ray.get`: of anything else it says that it was ignored."""
    import ray

    started = time.monotonic()
    threading.Timer(1.0, terminate).start()
    with pytest.raises(Terminated):
        while_stopping(lambda stop: ray.get(ray.remote(lambda: time.sleep(30)).remote()))
    assert time.monotonic() - started < 10


def test_sigterm_in_a_training_whose_ray_is_gone_is_raised_instead_of_waiting_for_its_end() -> None:
    def training(stop: StopSignal) -> None:
        asked = time.monotonic()
        stop.listen(gone=lambda: time.monotonic() > asked + 1)
        stop.should_stop()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.asked, "and nothing is raised while Ray is there"
        time.sleep(30)

    started = time.monotonic()
    with pytest.raises(Terminated) as raised:
        while_stopping(training)
    assert raised.value.signal == "SIGHUP", "by what came first"
    assert 1 < time.monotonic() - started < 10


def test_sigterm_after_ray_has_set_its_own_handler_is_still_heard() -> None:
    def starting_ray(stop: StopSignal) -> None:
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("somebody else's handler"))
        stop.listen()
        terminate()

    with pytest.raises(Terminated):
        while_stopping(starting_ray)


def test_exit_of_ray_s_handler_while_it_starts_counts_as_terminated() -> None:
    with pytest.raises(Terminated), stopping():
        raise SystemExit(signal.SIGTERM)
    with pytest.raises(SystemExit), stopping():
        raise SystemExit(1)


def test_lose_raises_its_reason_in_the_main_thread() -> None:
    def losing(stop: StopSignal) -> None:
        thread = threading.Thread(target=stop.lose, args=(InputError("taken over"),))
        thread.start()
        thread.join()
        threading.Event().wait(5)

    with pytest.raises(InputError, match="taken over"):
        while_stopping(losing)


def test_stopping_outside_of_the_main_thread_hears_nothing_and_fails_nothing() -> None:
    received: list[bool] = []

    def work() -> None:
        with stopping() as stop:
            received.append(stop.should_stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert received == [False]


@stage(name="train", version=1)
def train(config: Words, context: StageContext) -> File:
    """A training of ten steps that is told to stop in the fourth; it goes on after its checkpoint."""
    done = int(context.folder.read_bytes("step")) if context.folder.exists("step") else 0
    for step in range(done + 1, 11):
        if context.should_stop():
            context.folder.write_bytes("step", str(step - 1).encode())
            raise Preempted(step - 1)
        context.on_metrics(step, {"loss": 1.0})
        if step == 4:
            terminate()
    return File(folder=context.folder, words=10)


@stage(name="train", version=1)
def train_whose_last_step_is_interrupted(config: Words, context: StageContext) -> File:
    context.should_stop()
    terminate()
    return File(folder=context.folder, words=10)


@stage(name="train", version=1)
def train_whose_workers_are_terminated_too(config: Words, context: StageContext) -> File:
    context.should_stop()
    terminate()
    raise RuntimeError("all workers have gone")


def step_over(root: Path, stop: StopSignal, seen: list[int]) -> Reuse:
    return Reuse(
        root=Folder(str(root)), seed=0, watch=Unwatched(), on_metrics=lambda _, step, __: seen.append(step), stop=stop
    )


def test_step_told_to_stop_is_not_recorded_and_continues(tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(Preempted) as raised, stopping() as stop:
        step_over(tmp_path, stop, seen)(train, Words())
    assert raised.value.step == 4
    made = step_over(tmp_path, StopSignal(), seen)(train, Words())
    assert made.why == ("not finished last time; continues",)
    assert seen == list(range(1, 11))


def test_step_that_ended_in_spite_of_sigterm_is_recorded_and_the_next_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(Terminated), stopping() as stop:
        step_over(tmp_path, stop, [])(train_whose_last_step_is_interrupted, Words())
    assert step_over(tmp_path, StopSignal(), [])(train_whose_last_step_is_interrupted, Words()).reused


def test_step_that_fails_once_sigterm_came_was_terminated(tmp_path: Path) -> None:
    with pytest.raises(Terminated), stopping() as stop:
        step_over(tmp_path, stop, [])(train_whose_workers_are_terminated_too, Words())


def test_step_that_is_reused_is_told_to_on_reused_and_a_made_one_is_not(tmp_path: Path) -> None:
    told: list[str] = []
    for expected in ([], ["gather"]):
        step = Reuse(
            root=Folder(str(tmp_path)), seed=0, watch=Unwatched(), on_reused=lambda made: told.append(made.stage)
        )
        step(gather_words, Words())
        assert told == expected
