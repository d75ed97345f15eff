"""How long a trial is, when it may be stopped, and that all of them together spend no more than they may."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from pipeline.tuning.config import TuneConfig
from pipeline.tuning.ledger import Ledger, Report, Trial
from stages.distil.config import DistilConfig
from stages.tokens.blocks import Blocks


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A search's budget, in tokens; trials with batches of another size take other numbers of steps."""

    tokens: int
    """Of a whole trial."""
    grace: int
    """After which a trial may be stopped for the first time."""
    reduction_factor: int
    limit: int
    """For all trials together."""
    trials: int

    def steps(self, config: DistilConfig, block_length: int) -> int:
        """Optimiser steps of a whole trial with this config."""
        return max(1, self.tokens // (config.global_batch * block_length))

    def every(self, config: DistilConfig, block_length: int) -> int:
        """Steps between a trial's reports: at the first it may be stopped."""
        return -(-self.grace // (config.global_batch * block_length))

    @property
    def rungs(self) -> list[int]:
        """Tokens at which trials are compared, and the whole at the end."""
        found, rung = [], self.grace
        while rung < self.tokens:
            found.append(rung)
            rung *= self.reduction_factor
        return [*found, self.tokens]

    def committed(self, trials: Sequence[Trial]) -> int:
        """Tokens that `trials` have spent or will before they can next be stopped, and those not yet started will."""
        ahead = [t.tokens if t.is_over else self._next_stop(t) for t in trials]
        return sum(ahead) + self.grace * (self.trials - len(trials))

    def _next_stop(self, trial: Trial) -> int:
        """Tokens at which a running trial can next be stopped."""
        return next((rung for rung in self.rungs if rung > trial.tokens and trial.number), self.tokens)


def budget_of(tune: TuneConfig, distil: DistilConfig, blocks: Blocks) -> Budget:
    """The budget in whole steps of the recipe's own batches."""
    batch = distil.global_batch * blocks.block_length
    full = tune.budget_tokens or distil.total_steps(blocks.rows) * batch // 4
    steps = max(1, full // batch)
    grace = max(1, round(tune.grace * steps))
    return Budget(
        tokens=steps * batch,
        grace=grace * batch,
        reduction_factor=tune.reduction_factor,
        limit=int(tune.spend * steps * batch),
        trials=tune.trials,
    )


class Thrifty(ASHAScheduler):
    """ASHA (Li et al. 2020) that lets no trial past a rung which the search cannot afford.

    Asynchronous halving alone promises no total: trials that come ever better all run to the end. Trial 0, the paper's,
    is never stopped: it is what the others are seen beside.
    """

    def __init__(self, budget: Budget, ledger: Ledger, objective: str) -> None:
        super().__init__(
            time_attr="tokens",
            metric=objective,
            mode="min",
            max_t=budget.tokens,
            grace_period=budget.grace,
            reduction_factor=budget.reduction_factor,
            stop_last_trials=False,  # a trial at its last step is about to end by itself, and to be recorded whole
        )
        self.budget, self.ledger = budget, ledger

    def remember(self, trials: Sequence[Trial]) -> None:
        """Take in the reports of trials that were over before this search went on, as if they came now."""
        for trial in trials:
            ghost: Any = SimpleNamespace(trial_id=f"before-{trial.number}")  # all that ASHA asks of a trial
            super().on_trial_add(None, ghost)
            for report in trial.reports:
                super().on_trial_result(None, ghost, {"tokens": report.tokens, **report.metrics})

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """ASHA's decision; STOP also where going on to the next rung would cost more than there is."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if result["step"] >= result["steps"] or not trial.config["number"]:
            return TrialScheduler.CONTINUE
        return decision if self._affords(trial.config["number"], result["tokens"]) else TrialScheduler.STOP

    def _affords(self, number: int, tokens: int) -> bool:
        """Whether trial `number`, after `tokens`, can go on: what is committed never exceeds the limit."""
        others = [trial for trial in self.ledger.trials if trial.number != number]
        here = Report(step=0, tokens=tokens, metrics={})
        return self.budget.committed([*others, replace(self.ledger[number], reports=(here,))]) <= self.budget.limit
