"""A search in MLflow while it lasts: below its own run a child run a trial, below that the runs that confirm it.

With `conclusion.py` and `pipeline/tracking/` the only place that knows MLflow, and through its client alone:
the fluent calls would mean the parent, which is the active run. Nothing here may stop a search: what could not be
recorded is in the parent's `problems`.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.tracking.away.debts import owed_of
from pipeline.tracking.delivery import Delivery, first_line
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import FINAL, final
from pipeline.tracking.retry import is_refusal
from pipeline.tuning.ledger import Report, Trial
from pipeline.tuning.tracking.attempt import attempt
from pipeline.tuning.tracking.trial_run import Key, key_in, key_of, name_of, tags_of

if TYPE_CHECKING:
    from mlflow.entities import Metric

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow shows runs below one another."""
PAGE = 1000
"""Runs that are asked for at a time."""


class Children:
    """The runs of a search's trials, while it lasts; used by one thread, the driver's."""

    def __init__(self, live: LiveRun, *, hardware: str = "") -> None:
        """`live`: the search's own run. Reads which children it has from an earlier start of the same search."""
        from mlflow import MlflowClient

        self._live, self._hardware = live, hardware
        self._client: Any = MlflowClient(live.store.uri)
        self._runs: dict[Key, str] = {}
        self._read: set[str] = set()
        """The runs whose children are all in `_runs`."""
        self._open: set[str] = set()
        """The runs that MLflow takes for running."""
        self._ends: dict[str, tuple[str, dict[str, str]]] = {}
        """Status and tags to end a run with."""
        self._tokens: dict[str, int] = {}
        """Of a run, those of the last report that was handed over."""
        self._concluded: set[str] = set()
        """The runs whose final figures were handed over, now or before a kill."""
        self._refusals: dict[str, tuple[int, str]] = {}
        """Of a run, how many values were refused, and why."""
        self._unmade: set[Key] = set()
        """The trials whose runs could not be made."""
        self._delivery: Delivery[tuple[str, Metric]] = Delivery(self._send)
        attempt(live, "what trials there are", partial(self._read_children, live.run_id))

    def started(self, trial: Trial, parent: str | None = None) -> str | None:
        """The trial's run, made, or running again where there is one; the ledger's where MLflow does not answer.

        `parent`: in a confirmation, the run of the trial that it confirms, where it is not among those known here.
        """
        name = name_of(trial)
        run_id = attempt(self._live, f"the run of {name}", partial(self._found_or_made, trial, parent))
        if run_id is None:
            self._unmade |= {key_of(trial)} if trial.run_id is None else set()
            return trial.run_id
        attempt(self._live, f"what {name} is set to", partial(self._set_up, run_id, trial))
        self._catch_up(trial)
        return run_id

    def report(self, trial: Trial, report: Report) -> None:
        """Its metrics at an optimiser step, and `tokens`; microseconds, they are sent every two seconds.

        A report that was handed over before, now or before the search was killed, is passed over, and so is one of
        a trial without a run: once it has one, its reports in the ledger are sent.
        """
        run_id = self._runs.get(key_of(trial))
        if run_id is not None and report.tokens > self._tokens.get(run_id, -1):
            self._tokens[run_id] = report.tokens
            attempt(self._live, f"step {report.step} of {name_of(trial)}", partial(self._hand_over, run_id, report))

    def ended(self, trial: Trial) -> None:
        """End its run: FINISHED where it completed or was stopped early, FAILED otherwise, with the reason.

        A run that has ended only gets the metrics that it lacks, so a search which goes on calls this for all trials
        that are over: the kill may have come after the ledger had it, and before MLflow.
        """
        attempt(self._live, f"the end of {name_of(trial)}", partial(self._end, trial))

    def close(self, *, interrupted: bool) -> None:
        """End what still runs, as KILLED where the search was interrupted, as FAILED otherwise; deliver what waits."""
        unfinished = ("KILLED" if interrupted else "FAILED", {"state": "interrupted"})
        away = False
        for run_id in sorted(self._open):
            self._ends.setdefault(run_id, unfinished)
            try:
                if not away:  # else nobody answers, and each of the others would wait as long
                    self._finish(run_id)
            except Exception as error:
                away = not is_refusal(error)
                if not away:
                    self._live.problems.append(f"the end of run {run_id} was not recorded: {first_line(error)}")
                    self._open.discard(run_id)
        self._live.problems += self._delivery.close()
        ends = {run_id: self._ends[run_id] for run_id in sorted(self._open)}
        for owed in owed_of(self._live.store.uri, self._delivery.rest(), ends):
            self._live.debts.owe(f"what a trial lacks (run {owed.run_id})", owed)
        if unmade := self._unmade - self._runs.keys():
            self._live.debts.lacks = f"the runs of {len(unmade):,} trials"
        for run_id, (count, reason) in self._refusals.items():
            self._live.problems.append(f"{count:,} metric values of run {run_id} were refused: {reason}")

    def _found_or_made(self, trial: Trial, parent: str | None) -> str:
        return self._found(trial, parent) or self._made(trial, parent)

    def _found(self, trial: Trial, parent: str | None = None) -> str | None:
        """The trial's run, if there is one. Raises what MLflow raises, and LookupError for a confirmation of a trial
        that has no run."""
        above = self._above(trial, parent)
        if above not in self._read:
            self._read_children(above)
        return self._runs.get(key_of(trial))

    def _made(self, trial: Trial, parent: str | None) -> str:
        above = self._above(trial, parent)
        self._read.discard(above)  # it may be made although no answer comes; before the next try, this is read again
        made = self._client.create_run(
            self._live.experiment_id, run_name=name_of(trial), tags={PARENT: above, **tags_of(trial, self._hardware)}
        )
        self._read.add(above)
        self._runs[key_of(trial)] = made.info.run_id
        self._open.add(made.info.run_id)
        return made.info.run_id

    def _above(self, trial: Trial, parent: str | None) -> str:
        if trial.confirms is None:
            return self._live.run_id
        above = parent or self._runs.get(("", str(trial.confirms)))
        if above is None:
            raise LookupError(f"trial {trial.confirms} has no run")
        return above

    def _read_children(self, above: str) -> None:
        """Take in the runs below a run; the first one where a trial should have two."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._live.experiment_id],
                f"tags.`{PARENT}` = '{above}'",
                max_results=PAGE,
                order_by=["start_time ASC"],
                page_token=token,
            )
            for run in page:
                self._take_in(run)
            token = page.token
            if not token:
                self._read.add(above)
                return

    def _take_in(self, run: Any) -> None:
        tags, run_id = run.data.tags, run.info.run_id
        key = key_in(tags)
        if key is None:
            return
        if self._runs.setdefault(key, run_id) == run_id and run_id not in self._tokens:
            self._tokens[run_id] = int(run.data.metrics.get("tokens", -1))
            self._concluded |= {run_id} if set(FINAL.values()) & run.data.metrics.keys() else set()
            if run.info.status == "RUNNING":
                self._open.add(run_id)

    def _set_up(self, run_id: str, trial: Trial) -> None:
        """Parameters, and the run running; both may have been so before."""
        from mlflow.entities import Param, RunTag

        if run_id not in self._open:
            self._open.add(run_id)
            self._client.update_run(run_id, status="RUNNING")
        values = {**{f"distil.{field}": value for field, value in trial.setting.items()}, "seed": trial.seed}
        params = [Param(name, str(value)) for name, value in values.items()]
        self._client.log_batch(run_id, params=params, tags=[RunTag("state", "running")])

    def _catch_up(self, trial: Trial) -> None:
        """Hand over what the ledger has and MLflow has not."""
        for report in trial.reports:
            self.report(trial, report)

    def _hand_over(self, run_id: str, report: Report) -> None:
        self._put(run_id, report.step, {**report.metrics, "tokens": report.tokens})  # last: once there, all of it is

    def _put(self, run_id: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._delivery.put([(run_id, Metric(name, float(value), now, step)) for name, value in values.items()])

    def _end(self, trial: Trial) -> None:
        run_id = self._runs.get(key_of(trial)) or self._found(trial) or self.started(trial)  # the first asks nobody
        self._catch_up(trial)  # a run that MLflow has ended too: its end overtakes metrics, which wait for two seconds
        if run_id is not None and run_id not in self._concluded and trial.state != "failed" and trial.reports:
            self._concluded.add(run_id)
            figures = final(trial.reports[-1].metrics)
            attempt(self._live, f"the final figures of {name_of(trial)}", partial(self._put, run_id, 0, figures))
        if run_id is None or run_id not in self._open:
            return
        tags = {"state": trial.state, **({"error": trial.why} if trial.why else {})}
        self._ends[run_id] = ("FAILED" if trial.state == "failed" else "FINISHED", tags)
        with suppress(Exception):  # `close` tries again, and tells
            self._finish(run_id)

    def _finish(self, run_id: str) -> None:
        from mlflow.entities import RunTag

        status, tags = self._ends[run_id]
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._client.set_terminated(run_id, status)
        self._open.discard(run_id)

    def _send(self, items: "Sequence[tuple[str, Metric]]") -> None:
        """A request a run. Where one fails, all are sent again: MLflow knows a value by its time, and keeps one."""
        of_runs: dict[str, list[Metric]] = {}
        for run_id, metric in items:
            of_runs.setdefault(run_id, []).append(metric)
        refused = {}
        for run_id, metrics in of_runs.items():
            try:
                self._client.log_batch(run_id, metrics=metrics)
            except Exception as error:
                if not is_refusal(error):
                    raise
                refused[run_id] = (len(metrics), first_line(error))  # no reason to drop the other runs' values
        for run_id, (count, reason) in refused.items():
            self._refusals[run_id] = (self._refusals.get(run_id, (0, ""))[0] + count, reason)
