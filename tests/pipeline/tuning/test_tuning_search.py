"""What the sampler is told of a trial's end: as the search goes, and by one that goes on from the ledger."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
from optuna.trial import TrialState

from pipeline.tuning.config import PAPER, TuneConfig
from pipeline.tuning.ledger import Ledger, Report
from pipeline.tuning.search import Proposals
from stages.storage import Folder

NAME = "heldout_mlm_loss"
TUNE = TuneConfig(weights="fixed", trials=99, spend=50, startup=0)
POINT = {"temperature": 2.0}


class Searching:
    """Proposals as Ray Tune asks for them: the ledger hears of a report before, and of an end after they do."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(Folder(str(folder)))
        self.proposals = Proposals(TUNE, self.ledger, paper=POINT, seed=1)

    def run(self, values: Sequence[float], *, at: float | None = None, error: bool = False, steps: int = 10) -> float:
        """A trial with these values at its steps 1, 2, …; returns its temperature, `at` where that is asked for. The
        first is the paper's."""
        if at is not None:
            self.proposals.study.enqueue_trial({"temperature": at})
        name = f"ray-{len(self.ledger.trials)}"
        number = self.proposals.suggest(name)["number"]
        result = None
        for step, value in enumerate(values, start=1):
            result = {"step": step, "steps": steps, "tokens": 100 * step, NAME: value}
            self.proposals.on_trial_result(name, result)
            self.ledger.report(number, Report(step=step, tokens=100 * step, metrics={NAME: value}))
        self.proposals.on_trial_complete(name, None if error else result, error)
        ended = "failed" if error or not values else "completed" if len(values) == steps else "stopped early"
        self.ledger.end(number, ended, seconds=1.0)
        return float(self.ledger[number].setting["temperature"] or 0)

    @property
    def told(self) -> list[tuple[TrialState, float, dict[int, float], float | None]]:
        """What Optuna's sampler looks at, without what it passes over."""
        seen = (TrialState.COMPLETE, TrialState.PRUNED)
        trials = self.proposals.study.get_trials(states=seen)
        return [(t.state, t.params["temperature"], t.intermediate_values, t.value) for t in trials]


def test_trial_that_was_stopped_is_told_as_pruned_with_its_values_and_not_as_one_at_the_full_budget(
    tmp_path: Path,
) -> None:
    search = Searching(tmp_path)
    whole = [5 - 0.2 * step for step in range(10)]
    paper, stopped = search.run(whole), search.run([4.5, 4.4])
    broken, never = search.run([4.5], error=True), search.run([])
    assert paper == 2.0
    assert search.told == [
        (TrialState.COMPLETE, paper, dict(enumerate(whole, start=1)), whole[-1]),
        (TrialState.PRUNED, stopped, {1: 4.5, 2: 4.4}, None),
        (TrialState.PRUNED, broken, {}, None),
        (TrialState.PRUNED, never, {}, None),
    ]
    assert Searching(tmp_path).told == search.told  # killed, and gone on
    assert not search.proposals.asked


def proposed(search: Searching, number: int = 60) -> float:
    """The temperature that the sampler is after: the median of what it would propose next."""
    found = []
    for _ in range(number):
        asked = search.proposals.study.ask(search.proposals.space)
        found.append(asked.params["temperature"])
        search.proposals.study.tell(asked, state=TrialState.FAIL)  # taken back: it keeps off what is running
    return median(found)


@pytest.mark.parametrize("killed", [False, True])
def test_sampler_follows_who_came_further_and_not_who_had_the_lower_value_earlier(tmp_path: Path, killed: bool) -> None:
    """A value at a tenth of the budget, where the learning rate is still high, says less than one at four tenths."""
    search = Searching(tmp_path)
    search.run([4.0] * 9 + [3.9])
    for index in range(20):
        search.run([5.0, 4.5, 4.4, 4.3], at=1.1 + 0.02 * index)
        search.run([4.2], at=7.0 + 0.03 * index)
    assert proposed(Searching(tmp_path) if killed else search) < 2.0


@pytest.mark.parametrize("killed", [False, True])
def test_sampler_keeps_off_what_failed_however_far_it_came(tmp_path: Path, killed: bool) -> None:
    search = Searching(tmp_path)
    search.run([4.0] * 9 + [3.9])
    for index in range(20):
        search.run([4.5], at=1.1 + 0.02 * index)
        search.run([4.0] * 8, at=7.0 + 0.03 * index, error=True)
    assert proposed(Searching(tmp_path) if killed else search) < 2.0


def test_proposals_of_an_interrupted_trial_come_first_and_are_the_same_trial(tmp_path: Path) -> None:
    search = Searching(tmp_path)
    search.run([4.0] * 10)
    told = search.proposals.suggest("cut off")
    again = Searching(tmp_path)
    assert again.proposals.suggest("first") == told
    assert again.proposals.asked["first"].params["temperature"] == told["setting"]["temperature"]
    assert again.proposals.suggest("second")["number"] == told["number"] + 1
    assert search.ledger[0].setting == PAPER
