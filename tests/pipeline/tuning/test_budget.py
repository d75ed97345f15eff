"""Trials are stopped as asynchronous halving says, and never spend more than they may together."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.tuning.budget import Budget, Thrifty, budget_of
from pipeline.tuning.config import TuneConfig
from pipeline.tuning.ledger import Ledger, Report, State, Trial
from stages.distil.config import DistilConfig
from stages.storage import Folder

NAME = "heldout_mlm_loss"
BUDGET = Budget(tokens=100, grace=10, reduction_factor=4, limit=500, trials=16)
BLOCKS = SimpleNamespace(rows=6400, block_length=128)


def test_budget_of_is_a_quarter_of_the_full_run_in_whole_steps() -> None:
    full = DistilConfig(steps=390, global_batch=32)
    found = budget_of(TuneConfig(), full, BLOCKS)  # type: ignore[arg-type]
    assert found.tokens == 97 * 32 * 128  # 97.5 steps would be a quarter
    assert found.grace == 10 * 32 * 128
    assert found.rungs == [found.grace, 4 * found.grace, found.tokens]
    assert found.limit == 5 * found.tokens
    assert (found.steps(full, 128), found.every(full, 128)) == (97, 10)


def test_budget_of_given_tokens_and_epochs() -> None:
    assert budget_of(TuneConfig(budget_tokens=10**6), DistilConfig(global_batch=100), BLOCKS).tokens == 78 * 12_800  # type: ignore[arg-type]
    epochs = DistilConfig(epochs=2.0, global_batch=64)  # 200 steps
    assert budget_of(TuneConfig(), epochs, BLOCKS).tokens == 50 * 64 * 128  # type: ignore[arg-type]
    tiny = budget_of(TuneConfig(budget_tokens=1), DistilConfig(global_batch=64), BLOCKS)  # type: ignore[arg-type]
    assert (tiny.tokens, tiny.grace, tiny.rungs) == (64 * 128, 64 * 128, [64 * 128])


def test_budget_a_trial_with_other_batches_takes_other_steps_for_the_same_tokens() -> None:
    budget = budget_of(TuneConfig(), DistilConfig(steps=400, global_batch=32), BLOCKS)  # type: ignore[arg-type]
    assert (budget.tokens, budget.grace) == (100 * 4096, 10 * 4096)
    twice, odd = DistilConfig(global_batch=64), DistilConfig(global_batch=48)
    assert (budget.steps(twice, 128), budget.every(twice, 128)) == (50, 5)
    assert budget.steps(odd, 128) == 66  # 66.7
    assert budget.every(odd, 128) == 7  # 6.7: it reports once it has the tokens that it is compared at


def running(number: int, tokens: int, state: State = "running") -> Trial:
    reports = (Report(step=tokens, tokens=tokens, metrics={NAME: 1.0}),) if tokens else ()
    return Trial(number=number, setting={}, point={}, seed=0, state=state, reports=reports)


def test_committed_counts_the_spent_the_next_rung_of_the_running_and_the_grace_of_the_rest() -> None:
    trials = [running(0, 100, "completed"), running(1, 30), running(2, 40, "stopped early"), running(3, 0)]
    assert BUDGET.committed(trials) == 100 + 40 + 40 + 10 + 12 * 10
    assert BUDGET.committed([]) == 160
    assert BUDGET.committed([running(1, 40)]) == 100 + 150
    assert BUDGET.committed([running(0, 0)]) == 100 + 150  # the paper's is never stopped


class Search:
    """Trials that run one after the other, as a search on one core would have them."""

    def __init__(self, folder: Path, budget: Budget = BUDGET) -> None:
        self.ledger = Ledger(Folder(str(folder)))
        self.scheduler = Thrifty(budget, self.ledger, NAME)
        self.budget = budget

    def run(self, quality: float) -> State:
        """A trial whose objective is `quality` from the first step to the last."""
        number = self.ledger.begin({}, seed=0).number
        trial = SimpleNamespace(trial_id=str(number), config={"number": number})
        self.scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        for step in range(10, 101, 10):
            result = {"step": step, "steps": 100, "tokens": step, NAME: quality}
            decision = self.scheduler.on_trial_result(None, trial, result)  # type: ignore[arg-type]
            self.ledger.report(number, Report(step=step, tokens=step, metrics={NAME: quality}))
            if decision == "STOP":
                return self.ledger.end(number, "stopped early", seconds=0).state
        self.scheduler.on_trial_complete(None, trial, result)  # type: ignore[arg-type]
        return self.ledger.end(number, "completed", seconds=0).state

    @property
    def tokens(self) -> list[int]:
        return [trial.tokens for trial in self.ledger.trials]


def plain_halving(qualities: list[float], rungs: list[int], eta: int) -> list[int]:
    """Tokens of each trial, one after the other: at a rung it goes on if it is in the upper 1 / eta of those before."""
    seen: dict[int, list[float]] = {rung: [qualities[0]] for rung in rungs}
    tokens = [100]
    for quality in qualities[1:]:
        for rung in rungs:
            stops = bool(seen[rung]) and -quality < np.percentile([-q for q in seen[rung]], 100 * (1 - 1 / eta))
            seen[rung].append(quality)
            if stops:
                break
        tokens.append(rung if stops else 100)
    return tokens


def test_thrifty_with_enough_to_spend_stops_as_plain_halving_does(tmp_path: Path) -> None:
    qualities = np.random.default_rng(0).permutation(16).astype(float).tolist()
    search = Search(tmp_path, Budget(tokens=100, grace=10, reduction_factor=4, limit=10_000, trials=16))
    for quality in qualities:
        search.run(quality)
    assert search.tokens == plain_halving(qualities, [10, 40], 4)
    assert len(set(search.tokens)) == 3  # some at every rung, or this says little


def test_thrifty_trials_that_come_ever_better_spend_no_more_than_they_may(tmp_path: Path) -> None:
    search = Search(tmp_path)
    for quality in range(16, 0, -1):
        search.run(float(quality))
    assert search.tokens[0] == 100
    assert sum(search.tokens) <= 500
    assert sum(search.tokens) > 400  # it spends what it has
    assert min(search.tokens) == 10  # every one gets its grace


def test_thrifty_that_goes_on_decides_as_if_it_had_never_been_killed(tmp_path: Path) -> None:
    qualities = np.random.default_rng(1).permutation(16).astype(float).tolist()
    whole, first = Search(tmp_path / "whole"), Search(tmp_path / "killed")
    for quality in qualities:
        whole.run(quality)
    for quality in qualities[:7]:
        first.run(quality)
    second = Search(tmp_path / "killed")
    second.scheduler.remember(second.ledger.trials)
    for quality in qualities[7:]:
        second.run(quality)
    assert second.tokens == whole.tokens


def test_thrifty_the_paper_s_setting_is_not_stopped_whatever_others_did_before(tmp_path: Path) -> None:
    search = Search(tmp_path)
    for number in (0, 1):
        search.ledger.begin({}, seed=0)
        search.scheduler.on_trial_add(None, SimpleNamespace(trial_id=str(number)))  # type: ignore[arg-type]
    decisions = []
    for number, quality in ((1, 1.0), (0, 9.0)):
        trial = SimpleNamespace(trial_id=str(number), config={"number": number})
        result = {"step": 10, "steps": 100, "tokens": 10, NAME: quality}
        decisions.append(search.scheduler.on_trial_result(None, trial, result))  # type: ignore[arg-type]
    assert decisions == ["CONTINUE", "CONTINUE"]


def test_thrifty_a_trial_at_its_last_step_is_not_stopped_however_bad(tmp_path: Path) -> None:
    search = Search(tmp_path, Budget(tokens=100, grace=100, reduction_factor=4, limit=1600, trials=16))
    assert [search.run(quality) for quality in (1.0, 2.0, 3.0)] == ["completed"] * 3


@pytest.mark.parametrize("limit", [250, 300])
def test_thrifty_s_limit_holds_for_any_order_of_good_and_bad(tmp_path: Path, limit: int) -> None:
    for seed in range(20):
        budget = Budget(tokens=100, grace=10, reduction_factor=2, limit=limit, trials=16)
        search = Search(tmp_path / str(seed), budget)
        for quality in np.random.default_rng(seed).random(16):
            search.run(float(quality))
        assert sum(search.tokens) <= limit
