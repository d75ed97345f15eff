"""The confirmation a seed at a time: who is run again, who is not, and that a killed race goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.tuning.confirming.race import confirmation, confirmations, fresh_seeds, race
from pipeline.tuning.ledger import Ledger, Report, Trial
from pipeline.tuning.verdict import judge
from stages.storage import Folder

NAME, SEEDS = "heldout_kl", (11, 12, 13, 14)
CHOSEN = tuple(Trial(number=number, setting={"temperature": float(number)}, point={}, seed=1) for number in (0, 5, 7))
CLEAR = {0: (3.00, 3.10, 3.05, 3.02), 5: (2.90, 3.01, 2.94, 2.93), 7: (3.20, 3.00, 3.20, 3.20)}
"""Trial 5 gains about 0.1 everywhere; 7 loses on average and after two seeds cannot win any more."""
Run = Callable[[Sequence[Trial]], None]


def ending(runs: Ledger, values: dict[int, tuple[float, ...]], most: int = 99) -> Run:
    """Ends the runs it is given: with their values, or as failed where there is none. After `most` it is killed."""

    def run(waiting: Sequence[Trial]) -> None:
        for one in waiting:
            if sum(trial.is_over for trial in runs.trials) >= most:
                raise KeyboardInterrupt
            assert one.confirms is not None
            found = dict(zip(SEEDS, values[one.confirms], strict=False)).get(one.seed)
            if found is not None:
                runs.report(one.number, Report(step=9, tokens=900, metrics={NAME: found}))
            runs.end(one.number, "failed" if found is None else "completed", seconds=1.0, why="it broke")

    return run


def ledger(folder: Path) -> Ledger:
    return Ledger(Folder(str(folder)))


def pairs(runs: Ledger) -> list[tuple[int | None, int]]:
    return [(run.confirms, run.seed) for run in runs.trials]


def test_race_one_that_cannot_win_any_more_is_not_run_again(tmp_path: Path) -> None:
    runs = ledger(tmp_path)
    race(runs, CHOSEN, SEEDS, NAME, ending(runs, CLEAR))
    assert pairs(runs) == [(n, s) for s in SEEDS[:2] for n in (0, 5, 7)] + [(n, s) for s in SEEDS[2:] for n in (0, 5)]
    assert [one.values for one in confirmations(CHOSEN, runs.trials, SEEDS, NAME)] == [CLEAR[0], CLEAR[5], CLEAR[7][:2]]


def test_race_with_nobody_left_ends_without_further_runs_of_the_paper_s(tmp_path: Path) -> None:
    runs = ledger(tmp_path)
    race(runs, CHOSEN, SEEDS, NAME, ending(runs, CLEAR | {5: (3.1, 3.2, 0.0, 0.0)}))
    assert len(runs.trials) == 6


def test_race_with_the_paper_s_setting_alone_shows_its_spread_and_ends(tmp_path: Path) -> None:
    runs = ledger(tmp_path)
    race(runs, CHOSEN[:1], SEEDS, NAME, ending(runs, CLEAR))
    assert pairs(runs) == [(0, SEEDS[0]), (0, SEEDS[1])]


@pytest.mark.parametrize("most", range(10))
def test_race_that_was_killed_goes_on_and_runs_nothing_twice(tmp_path: Path, most: int) -> None:
    whole, runs = ledger(tmp_path / "whole"), ledger(tmp_path / "killed")
    race(whole, CHOSEN, SEEDS, NAME, ending(whole, CLEAR))
    with pytest.raises(KeyboardInterrupt):
        race(runs, CHOSEN, SEEDS, NAME, ending(runs, CLEAR, most))
    again = ledger(tmp_path / "killed")
    race(again, CHOSEN, SEEDS, NAME, ending(again, CLEAR))
    assert again.trials == whole.trials  # their seconds too: each was run once


def test_race_one_that_failed_is_left_out_and_tried_again_by_the_same_command(tmp_path: Path) -> None:
    runs = ledger(tmp_path)
    race(runs, CHOSEN, SEEDS, NAME, ending(runs, CLEAR | {7: ()}))
    assert [run.seconds for run in runs.trials if run.confirms == 7] == [1.0, 1.0]
    assert confirmation(CHOSEN[2], runs.trials, SEEDS, NAME) is None
    better = CLEAR | {7: (2.80, 2.91, 2.84, 2.83)}
    race(runs, CHOSEN, SEEDS, NAME, ending(runs, better))
    found = confirmation(CHOSEN[2], runs.trials, SEEDS, NAME)
    assert found is not None
    assert found.values == better[7]


@pytest.mark.parametrize(("values", "most"), [((), 6), ((3.0,), 6), ((3.0, 3.1), 8)])
def test_race_without_a_value_of_the_paper_s_goes_no_further_and_nothing_is_compared(
    values: tuple[float, ...], most: int, tmp_path: Path
) -> None:
    runs = ledger(tmp_path)
    race(runs, CHOSEN, SEEDS, NAME, ending(runs, CLEAR | {0: values}))
    assert len(runs.trials) == most
    with pytest.raises(RuntimeError, match=r"the paper's setting could not be run again, .*: it broke"):
        confirmations(CHOSEN, runs.trials, SEEDS, NAME)
    race(runs, CHOSEN, SEEDS, NAME, ending(runs, CLEAR))  # the same command again
    assert [one.values for one in confirmations(CHOSEN, runs.trials, SEEDS, NAME)] == [CLEAR[0], CLEAR[5], CLEAR[7][:2]]


def test_race_ends_with_the_verdict_that_all_runs_would_have_had(tmp_path: Path) -> None:
    rng, said = np.random.default_rng(0), set()
    for search in range(60):
        values = {0: tuple(rng.normal(3.0, 0.1, 4)), 5: tuple(rng.normal(2.8, 0.1, 4)), 7: tuple(rng.normal(3, 0.1, 4))}
        runs = ledger(tmp_path / str(search))
        race(runs, CHOSEN, SEEDS, NAME, ending(runs, values))
        raced, whole = (
            judge(found[0], [one for one in found[1:] if one], seeds=4, candidates=2)
            for found in (
                [confirmation(trial, runs.trials, SEEDS, NAME) for trial in CHOSEN],
                [confirmation(trial, everything(values), SEEDS, NAME) for trial in CHOSEN],
            )
            if found[0] is not None
        )
        assert (raced.is_better, raced.winner.trial) == (whole.is_better, whole.winner.trial)
        said.add((raced.is_better, len(runs.trials)))
    assert {better for better, _ in said} == {True, False}
    assert min(count for _, count in said) < max(count for _, count in said)


def everything(values: dict[int, tuple[float, ...]]) -> list[Trial]:
    """Every setting on every seed."""
    return [
        Trial(
            number=0, setting={}, point={}, seed=seed, confirms=number, state="completed",
            reports=(Report(step=9, tokens=900, metrics={NAME: value}),),
        )
        for number, found in values.items()
        for seed, value in zip(SEEDS, found, strict=True)
    ]  # fmt: skip


def test_fresh_seeds_are_not_the_search_s_own() -> None:
    assert fresh_seeds(2**32 - 2, 3) == (2**32 - 1, 0, 1)
