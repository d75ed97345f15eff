"""What is printed of a search that is over."""

from collections.abc import Sequence

from trials import FULL, LOSS, printed, rows_of, setting

from pipeline.tuning.tables.verdict import verdict_lines, verdict_table
from pipeline.tuning.verdict import Confirmed, Search, judge
from stages.storage import Folder


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
