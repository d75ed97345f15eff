"""What is printed of trials."""

from trials import FULL, LOSS, a_trial, printed, rows_of, setting, some_trials

from pipeline.tuning.tables.trials import best_so_far, runs_table, trials_table


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
