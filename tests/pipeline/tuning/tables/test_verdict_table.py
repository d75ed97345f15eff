"""What is printed of a search that is over."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from trials import FULL, LOSS, printed, rows_of, setting

from pipeline.tuning.tables.verdict import verdict_lines, verdict_table
from pipeline.tuning.verdict import Confirmed, Search
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
        seeds=(101, 102, 103),
        confirmed=confirmed,
    )


def test_verdict_lines_for_a_better_trial_say_so_with_the_figures_and_the_command() -> None:
    values = [(3.25, 3.26, 3.24), (3.21, 3.214, 3.199), (3.24, 3.25, 3.25)]
    lines = verdict_lines(a_search(values), "distil run demo --from-search ab12")
    # gains 0.040, 0.046 and 0.041: mean 0.0423, deviation 0.0032; t(2) at 0.05 / 2 is 4.3027, times 0.0032 / √3: 0.0080
    assert lines == [
        "trial 7 is better than the paper's setting: heldout_mlm_loss 3.2077 instead of 3.2500 on 3 fresh seeds, "
        "gain 0.0423 ± 0.0032, 95% interval 0.0343 to 0.0503",
        "full run: distil run demo --from-search ab12",
    ]


def test_verdict_lines_for_one_whose_interval_holds_nothing_say_no_better() -> None:
    sentence, command = verdict_lines(a_search([(3.25, 3.25, 3.25), (3.20, 3.26, 3.20)]), "distil run demo")
    assert sentence.startswith("no better than the paper's: trial 7")
    assert "heldout_mlm_loss 3.2200 instead of 3.2500 on 3 fresh seeds, gain 0.0300 ± 0.0346" in sentence
    assert sentence.endswith("90% interval -0.0284 to 0.0884")
    assert command == "full run: distil run demo"


@pytest.mark.parametrize(
    ("why", "end"), [("", "it could not win any more"), ("it broke", "its next run failed: it broke")]
)
def test_verdict_lines_for_one_that_did_not_come_through_say_how_far_it_came_and_why(why: str, end: str) -> None:
    search = a_search([(3.25, 3.25, 3.25), (3.20, 3.26)])
    search = replace(search, confirmed=(search.confirmed[0], replace(search.confirmed[1], why=why)))
    sentence, _ = verdict_lines(search, "distil run demo")
    assert "3.2300 instead of 3.2500 on 2 of 3 fresh seeds" in sentence
    assert sentence.endswith(f"; then {end}")


def test_verdict_lines_without_another_trial_say_that_there_is_nothing_to_confirm() -> None:
    lines = verdict_lines(a_search([(3.25, 3.25)]), "distil run demo")
    assert lines == ["nothing to confirm: no other trial got far enough", "full run: distil run demo"]


def test_verdict_table_shows_settings_each_seed_the_gain_and_its_interval_in_80_columns() -> None:
    settings = [setting(learning_rate=rate, mask_rate=0.15) for rate in (0.001, 0.0023)]
    search = a_search([(3.25, 3.26, 3.24), (3.21, 3.214, 3.199)], settings)
    text = printed(verdict_table(search), width=80)
    rows = rows_of(text)
    assert "best (trial 7)" in text
    assert rows["T"][:2] == ["2.00", "2.00"]
    assert rows["ce / mlm / cos"][:2] == ["5.00 / 2.00 / 1.00"] * 2
    assert rows["learning_rate"][:2] == ["1.0e-03", "2.3e-03"]
    assert "mask_rate" not in rows
    assert rows["seed 101"] == ["3.2500", "3.2100", "0.0400"]
    assert rows["seed 102"] == ["3.2600", "3.2140", "0.0460"]
    assert rows["mean"] == ["3.2500", "3.2077", "0.0423 ± 0.0032"]
    assert rows["90% interval"] == ["", "", "0.0369 to 0.0478"]


def test_verdict_table_of_one_that_was_dropped_has_the_seeds_it_came_to() -> None:
    text = printed(verdict_table(a_search([(3.25, 3.27, 3.29), (3.26, 3.28)])))
    rows = rows_of(text)
    assert "2 of 3 fresh seeds" in text
    assert "seed 103" not in rows
    assert rows["mean"][:2] == ["3.2600", "3.2700"]


def test_verdict_table_names_what_else_was_run() -> None:
    text = printed(verdict_table(a_search([(3.25, 3.25, 3.25), (3.24, 3.26), (3.21, 3.21, 3.21)])))
    assert "best (trial 8)" in text
    assert "also run: trial 7 with a mean of 3.2500 on 2 of 3 fresh seeds" in text


def test_verdict_table_with_the_papers_setting_alone_has_no_gain() -> None:
    rows = rows_of(printed(verdict_table(a_search([(3.25, 3.27)]))))
    assert rows["mean"] == ["3.2600", "–"]
    assert not [name for name in rows if "interval" in name]
