"""What is shown of a search while it lasts, on a terminal and in a log file."""

import io
import re

import pytest
from rich.console import Console as Terminal
from trials import FULL, LOSS, a_trial, rows_of, some_trials

import pipeline.tuning.tables.board
from pipeline.cli.console import Console
from pipeline.tuning.tables.board import Board, seconds_left


def a_board(*, terminal: bool = False, width: int = 200, height: int = 50) -> tuple[Board, io.StringIO]:
    shown = io.StringIO()
    console = Console(Terminal(file=shown, force_terminal=terminal, width=width, height=height, highlight=False))
    return Board(console, trials=16, objective=LOSS, full_tokens=FULL), shown


def plain(shown: io.StringIO) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())


def test_board_in_a_log_file_says_each_end_once_and_closes_with_table_and_line() -> None:
    board, shown = a_board()
    trials = some_trials()
    with board.running("search", ("no [record]",)):
        for count in range(1, 6):
            for _ in range(200):
                board.show(trials[:count])
    lines = shown.getvalue().splitlines()
    assert lines[0].split(maxsplit=1)[1] == "search           running  (no [record])"
    ends = [line for line in lines if line.startswith("… trial")]
    assert len(ends) == 4
    assert ends[1].split(maxsplit=3)[3] == (
        "T 3.46, ce / mlm / cos 1.00 / 6.50 / 0.50  stopped early at 10 %  heldout_mlm_loss 3.0123"
    )
    assert ends[2].endswith("failed at 0 %  loss is nan at [step] 12")
    assert len(lines) == 1 + 4 + 4 + 5 + 1  # running, ends, the table's title and head, its rows, done
    assert "5 trials: 1 running, 2 completed, 1 stopped early, 1 failed" in lines[5]
    assert re.fullmatch(r"✓ search +\d+\.\d s  \(no \[record\]\)", lines[-1])
    assert "\x1b" not in shown.getvalue()


def test_board_in_a_log_file_tells_of_running_trials_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(pipeline.tuning.tables.board.time, "monotonic", lambda: now[0])
    board, shown = a_board()
    with board.running("search", ()):
        for second in range(26):
            now[0] = float(second)
            board.show([a_trial(0, "completed", 1000, seconds=60), a_trial(1, "running", 10 * second + 1)])
    told = [line.split(maxsplit=2)[2] for line in shown.getvalue().splitlines() if line.startswith("… search")]
    # (16 − 1 − 0.101) · 60 s
    assert told[1:] == [
        "1 of 16 trials, 10.0 s, about 15 min left: trial 1 running 10 %",
        "1 of 16 trials, 20.0 s, about 15 min left: trial 1 running 20 %",
    ]


def test_board_in_a_narrow_log_file_shortens_nothing() -> None:
    board, shown = a_board(width=40)
    with board.running("search", ()):
        board.show([a_trial(0, "completed", 1000, 3.25), a_trial(1, "failed", why="out of memory " * 4)])
    rows = rows_of(shown.getvalue())
    assert rows["0"][1:] == ["5.00 / 2.00 / 1.00", "completed", "━━━━━━━━", "3.2500", "paper, best"]
    assert rows["1"][-1] == ("out of memory " * 4).strip()


@pytest.mark.parametrize("terminal", [True, False])
def test_board_whose_search_fails_shows_what_there_is_and_lets_the_error_through(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    board, shown = a_board(terminal=terminal)
    board.show(some_trials())
    board.confirm([a_trial(0, "running", 500, confirms=3)], 6)
    with pytest.raises(KeyError), board.running("search", ()):
        raise KeyError("x")
    text = plain(shown)
    assert text.strip().splitlines()[-1].startswith("✗ search")
    assert "✓" not in text
    trials, runs = text[text.rindex("5 trials: 1 running") :].split("confirmation: 1 runs: 1 running")
    assert rows_of(trials)["3"][2:] == ["completed", "━━━━━━━━", "3.2100", "best"]
    assert rows_of(runs)["3"] == ["70", "running 50 %", "━━━━────", "4.0000"]


def test_board_on_a_terminal_draws_trials_with_time_left_and_erases_them_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    board, shown = a_board(terminal=True, width=100)
    with board.running("search", ()):
        board.show([a_trial(0, "completed", 1000, 3.25, seconds=60), a_trial(1, "running", 500)])
    text = plain(shown)
    assert re.search(r"1 of 16 trials, \d+\.\d s, about 14 min left before the confirmation", text)  # 14.5 · 60 s
    erased = shown.getvalue().rindex("\x1b[2K")  # the last of the live table's lines
    assert shown.getvalue().index("about 14 min") < erased < shown.getvalue().rindex("running 50 %")
    assert text.count("2 trials: 1 running, 1 completed") == 1


def test_board_on_a_terminal_draws_the_confirmation_below_as_many_trials_as_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    board, shown = a_board(terminal=True, width=100, height=24)
    with board.running("search", ()):
        board.show([a_trial(number, "completed", 1000, seconds=30) for number in range(16)])
        board.confirm([a_trial(number, confirms=7) for number in range(6)], 6)
    live = plain(shown).split("16 trials: 16 completed")[1]
    assert "confirmation: 0 of 6 runs" in live
    assert "…" not in live  # what Live puts where it had to cut
    assert len(live.strip().splitlines()) < 24


def test_board_leaves_other_stages_to_the_console() -> None:
    board, shown = a_board()
    with board.running("tokens", ("new",)) as on_progress:
        on_progress(1, 2, "documents")
    first, last = shown.getvalue().splitlines()
    assert first.split() == ["…", "tokens", "running", "(new)"]
    assert re.fullmatch(r"✓ tokens +\d+\.\d s  \(new\)", last)


def test_seconds_left_is_unknown_until_a_trial_is_over() -> None:
    assert seconds_left([], 4, FULL) is None
    assert seconds_left([a_trial(0, "running", 500)], 4, FULL) is None


def test_seconds_left_after_the_papers_trial_takes_the_others_to_be_as_long() -> None:
    assert seconds_left([a_trial(0, "completed", 1000, seconds=120)], 4, FULL) == pytest.approx(3 * 120)


def test_seconds_left_leaves_the_papers_trial_out_of_the_mean_once_there_are_others() -> None:
    trials = [
        a_trial(0, "completed", 1000, seconds=120),
        a_trial(1, "stopped early", 100, seconds=20),
        a_trial(2, "stopped early", 300, seconds=40),
    ]
    assert seconds_left(trials, 8, FULL) == pytest.approx(5 * 30)


def test_seconds_left_counts_what_running_trials_have_done_and_that_they_share_the_time() -> None:
    over = [a_trial(1, "stopped early", 200, seconds=30), a_trial(2, "stopped early", 200, seconds=30)]
    # half of a mean trial to go, and three to come, two at a time: trial 3 has 150 of 200, trial 4 has 50 of 200
    running = [a_trial(3, "running", 150), a_trial(4, "running", 50)]
    assert seconds_left([*over, *running], 7, FULL) == pytest.approx(30 * (0.25 + 0.75 + 3) / 2)
    # trial 0 and one that got further than the mean go to the end: 600 and 500 of 200 tokens, and nothing to come
    running = [a_trial(0, "running", 400), a_trial(3, "running", 500)]
    assert seconds_left([*over, *running], 4, FULL) == pytest.approx(30 * (3 + 2.5) / 2)


def test_seconds_left_after_failures_without_a_report_takes_their_seconds() -> None:
    trials = [a_trial(1, "failed", seconds=8), a_trial(2, "running", 100)]
    assert seconds_left(trials, 3, FULL) == pytest.approx(2 * 8)


def test_seconds_left_is_zero_when_all_are_over() -> None:
    assert seconds_left([a_trial(0, "completed", 1000, seconds=9)], 1, FULL) == 0
