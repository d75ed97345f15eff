"""What is printed of a search, on a terminal and in a log file."""

import io
import re
from collections.abc import Sequence

import pytest
from rich.console import Console as Terminal
from rich.table import Table

import pipeline.tuning.table
from pipeline.console import Console
from pipeline.fields import Scalar
from pipeline.tuning.ledger import Report, State, Trial
from pipeline.tuning.table import (
    Board,
    best_so_far,
    runs_table,
    seconds_left,
    trials_table,
    verdict_lines,
    verdict_table,
)
from pipeline.tuning.verdict import Confirmed, Search, judge
from stages.storage import Folder

LOSS = "heldout_mlm_loss"
FULL = 1000


def setting(temperature: float = 2.0, ce: float = 5.0, mlm: float = 2.0, cos: float = 1.0, **more: Scalar) -> dict:
    return {"temperature": temperature, "alpha_ce": ce, "alpha_mlm": mlm, "alpha_cos": cos, **more}


def a_trial(
    number: int,
    state: State = "running",
    tokens: int = 0,
    loss: float = 4.0,
    *,
    fields: dict | None = None,
    why: str = "",
    seconds: float = 0.0,
    confirms: int | None = None,
) -> Trial:
    reports = (Report(step=tokens, tokens=tokens, metrics={LOSS: loss}),) if tokens else ()
    return Trial(
        number=number,
        setting=fields or setting(),
        point={},
        seed=70 + number,
        confirms=confirms,
        state=state,
        why=why,
        reports=reports,
        seconds=seconds,
    )


def some_trials() -> list[Trial]:
    return [
        a_trial(0, "completed", 1000, 3.25),
        a_trial(1, "stopped early", 100, 3.01234, fields=setting(3.456, 1, 6.5, 0.5)),
        a_trial(2, "failed", why="loss is nan at [step] 12"),
        a_trial(3, "completed", 1000, 3.21, fields=setting(1.5)),
        a_trial(4, "running", 400, 3.6, fields=setting(7.0)),
    ]


def printed(table: Table, width: int = 160) -> str:
    shown = io.StringIO()
    Terminal(file=shown, width=width).print(table)
    return shown.getvalue()


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells by the first one; two spaces or a line part them."""
    lines = [re.split(r"\s*│\s*|\s{2,}", line.strip(" │\n")) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines}


def a_board(*, terminal: bool = False, width: int = 200, height: int = 50) -> tuple[Board, io.StringIO]:
    shown = io.StringIO()
    console = Console(Terminal(file=shown, force_terminal=terminal, width=width, height=height, highlight=False))
    return Board(console, trials=16, objective=LOSS, full_tokens=FULL), shown


def plain(shown: io.StringIO) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())


def a_search(values: Sequence[tuple[float, ...]], settings: Sequence[dict] | None = None) -> Search:
    """The paper's values first; the others are trials 7, 8, …"""
    settings = settings or [setting(), setting(3.5, 6, 1, 1), setting(6.0)]
    confirmed = tuple(
        Confirmed(trial=7 + index - 1 if index else 0, setting=settings[index], values=found)
        for index, found in enumerate(values)
    )
    return Search(
        folder=Folder("search"),
        mlflow_run_id="ab12",
        objective=LOSS,
        trials=16,
        completed=4,
        failed=1,
        tokens_spent=4000,
        full_budget_tokens=FULL,
        confirm_tokens=6000,
        seeds=(101, 102),
        confirmed=confirmed,
        verdict=judge(confirmed[0], confirmed[1:]),
    )


def test_trials_table_shows_setting_state_and_objective_of_each() -> None:
    rows = rows_of(printed(trials_table(some_trials(), LOSS, FULL)))
    assert rows["0"] == ["2.00", "5.00 / 2.00 / 1.00", "completed", "━━━━━━━━", "3.2500", "paper"]
    assert rows["1"] == ["3.46", "1.00 / 6.50 / 0.50", "stopped early at 10 %", "━───────", "3.0123"]
    assert rows["2"][2:] == ["failed at 0 %", "────────", "–", "loss is nan at [step] 12"]
    assert rows["3"][2:] == ["completed", "━━━━━━━━", "3.2100", "best"]
    assert rows["4"][2:] == ["running 40 %", "━━━─────", "3.6000"]


def test_trials_table_is_sorted_by_number() -> None:
    trials = [a_trial(number) for number in (11, 0, 16, 2)]
    assert [name for name in rows_of(printed(trials_table(trials, LOSS, FULL))) if name.isdecimal()] == [
        "0",
        "2",
        "11",
        "16",
    ]


def test_trials_table_has_columns_for_further_fields_that_vary_and_only_for_those() -> None:
    trials = [
        a_trial(number, fields=setting(learning_rate=rate, mask_rate=0.15, layers=layers, warmup=None))
        for number, (rate, layers) in enumerate([(0.002, "alternate"), (0.00051, "[0,2]")])
    ]
    text = printed(trials_table(trials, LOSS, FULL))
    assert "learning_rate" in text
    assert "mask_rate" not in text
    assert "warmup" not in text
    assert rows_of(text)["0"][2:4] == ["2.0e-03", "alternate"]
    assert rows_of(text)["1"][2:4] == ["5.1e-04", "[0,2]"]


def test_trials_table_of_temperature_and_weights_fits_80_columns_with_every_figure() -> None:
    trials = [*some_trials(), a_trial(15, "stopped early", 100, 11.5, fields=setting(7.77, 10.25, 20.5, 1.25))]
    text = printed(trials_table(trials, LOSS, FULL, most=16), width=80)
    assert "10.25 / 20.50 / 1.25" in text
    assert "stopped early at 10 %" in text
    assert "11.5000" in text
    assert max(map(len, text.splitlines())) <= 80


def test_trials_table_with_little_room_keeps_paper_best_running_and_latest() -> None:
    trials = [a_trial(number, "stopped early", 100, 5.0) for number in range(1, 12)]
    trials[3] = a_trial(4, "completed", 1000, 3.0)
    trials[1] = a_trial(2, "running", 100)
    text = printed(trials_table([a_trial(0, "completed", 1000, 3.2), *trials], LOSS, FULL, most=5))
    assert [name for name in rows_of(text) if name.isdecimal()] == ["0", "2", "4", "10", "11"]
    assert "and 7 that are over" in text


def test_trials_table_cuts_a_long_reason() -> None:
    trials = [a_trial(0, "failed", why="out of memory\n" + "x" * 500)]
    lines = printed(trials_table(trials, LOSS, FULL), width=160).splitlines()
    assert sum("out of memory xxx" in line for line in lines) == 1
    assert sum(line.count("x") for line in lines) < 60


def test_trials_table_before_the_first_trial_has_no_rows() -> None:
    assert not [name for name in rows_of(printed(trials_table([], LOSS, FULL))) if name.isdecimal()]


def test_best_so_far_is_the_lowest_of_those_that_got_furthest() -> None:
    # trial 1 is lower than all, but at a tenth of the budget
    best = best_so_far(some_trials(), LOSS)
    assert best is not None
    assert best.number == 3
    assert best_so_far([a_trial(0)], LOSS) is None


def test_runs_table_names_the_trial_that_is_confirmed_and_the_seed() -> None:
    runs = [a_trial(0, "completed", 1000, 3.2, confirms=0), a_trial(1, "running", 500, 3.5, confirms=7)]
    rows = rows_of(printed(runs_table(runs, LOSS, FULL)))
    assert rows["0"] == ["70", "completed", "━━━━━━━━", "3.2000"]
    assert rows["7"] == ["71", "running 50 %", "━━━━────", "3.5000"]


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


def test_verdict_lines_for_a_better_trial_say_so_with_the_figures_and_the_command() -> None:
    lines = verdict_lines(a_search([(3.25, 3.26), (3.21, 3.214), (3.24, 3.25)]), "distil run demo --from-search ab12")
    # gains 0.04 and 0.046: mean 0.043, deviation 0.006 / √2
    assert lines == [
        "trial 7 is better than the paper's setting on every one of 2 fresh seeds: "
        "heldout_mlm_loss 3.2120 instead of 3.2550, gain 0.0430 ± 0.0042",
        "full run: distil run demo --from-search ab12",
    ]


def test_verdict_lines_for_one_that_is_better_on_one_seed_only_say_no_better() -> None:
    sentence, command = verdict_lines(a_search([(3.25, 3.25), (3.20, 3.26)]), "distil run demo")
    assert sentence.startswith("no better than the paper's: trial 7")
    assert "heldout_mlm_loss 3.2300 instead of 3.2500 on 2 fresh seeds, gain 0.0200 ± 0.0424" in sentence
    assert command == "full run: distil run demo"


def test_verdict_lines_without_another_trial_say_that_there_is_nothing_to_confirm() -> None:
    lines = verdict_lines(a_search([(3.25, 3.25)]), "distil run demo")
    assert lines == ["nothing to confirm: no other trial got far enough", "full run: distil run demo"]


def test_verdict_table_shows_settings_each_seed_and_the_gain_in_80_columns() -> None:
    settings = [setting(learning_rate=rate, mask_rate=0.15) for rate in (0.001, 0.0023)]
    search = a_search([(3.25, 3.26), (3.21, 3.214)], settings)
    text = printed(verdict_table(search), width=80)
    rows = rows_of(text)
    assert "best (trial 7)" in text
    assert rows["T"][:2] == ["2.00", "2.00"]
    assert rows["ce / mlm / cos"][:2] == ["5.00 / 2.00 / 1.00"] * 2
    assert rows["learning_rate"][:2] == ["1.0e-03", "2.3e-03"]
    assert "mask_rate" not in rows
    assert rows["seed 101"] == ["3.2500", "3.2100", "0.0400"]
    assert rows["seed 102"] == ["3.2600", "3.2140", "0.0460"]
    assert rows["mean"] == ["3.2550", "3.2120", "0.0430 ± 0.0042"]


def test_verdict_table_names_what_else_was_confirmed() -> None:
    text = printed(verdict_table(a_search([(3.25, 3.25), (3.24, 3.24), (3.21, 3.21)])))
    assert "best (trial 8)" in text
    assert "also confirmed: trial 7 with a mean of 3.2400" in text


def test_verdict_table_with_the_papers_setting_alone_has_no_gain() -> None:
    rows = rows_of(printed(verdict_table(a_search([(3.25, 3.27)]))))
    assert rows["mean"] == ["3.2600", "–"]


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
    monkeypatch.setattr(pipeline.tuning.table.time, "monotonic", lambda: now[0])
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
