"""An MLflow run while it lasts: metrics, figures, the data set, the report, the model, and how it ends."""

import io
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.redaction import redacted
from pipeline.tracking.away.debts import Debts
from pipeline.tracking.away.undelivered import MlflowAway, Undelivered, file_of
from pipeline.tracking.checks.client import hurried
from pipeline.tracking.deduplication import SentMetrics
from pipeline.tracking.delivery import Delivery, Refused, first_line
from pipeline.tracking.registry import LowerOn, PublishedModel, Score, register
from pipeline.tracking.retry import NOTICE, PATIENCE, QUIET, is_refusal
from pipeline.tracking.store import Store
from stages.errors import InputError

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from stages.corpus.artifact import Corpus
    from stages.evaluation.artifact import Report
    from stages.publish.artifact import Published

log = logging.getLogger(__name__)


class LiveRun:
    """The run while it lasts. Nothing here may stop a training: what MLflow refused is in `problems`, and what it was
    not there to take is told again at the end, and kept in the workdir where it is away still."""

    def __init__(
        self,
        mlflow: Any,
        store: Store,
        started: Any,
        workdir: Path,
        *,
        continued: bool = False,
        say: Callable[[str], object] = log.warning,
    ) -> None:
        """`started`: MLflow's own object of the run. `workdir`: where is kept what does not arrive. `say` is told where
        the end of the run has to wait."""
        from pipeline.tracking.figures import History

        self.store, self.experiment_id, self.run_id = store, started.info.experiment_id, started.info.run_id
        self.artifacts: str = started.info.artifact_uri
        """Where its files lie."""
        self.continued = continued
        self.started = started.info.start_time / 1000
        """When the run began first, in seconds since 1970."""
        self.history = History()
        self.problems: list[str] = []
        self.waits = ""
        """Once it is closed: what was kept, for another time, as a sentence; empty where all is delivered."""
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(store.uri)
        self._say = say
        self._owner = Undelivered(store=store.uri, run_id=self.run_id)
        self.debts = Debts(self._client, self._owner, workdir, self.problems, self._tell)
        self._held = SentMetrics(self._steps_of, fresh=not continued)
        self._delivery: Delivery[Metric] = Delivery(self._send)

    @property
    def url(self) -> str | None:
        """The run's page on the server; None where there is only a database, which `ui` shows."""
        page = self.store.page
        return f"{page}/#/experiments/{self.experiment_id}/runs/{self.run_id}" if page else None

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Values by name at an optimiser step; takes microseconds, they are sent every two seconds.

        What the run holds already of a step is passed over, so that a training may tell again what it told before.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.history.add(step, metrics)
        self._delivery.put([Metric(legal(name), float(value), now, int(step)) for name, value in metrics.items()])

    def log_dataset(self, corpus: "Corpus", name: str) -> None:
        """The corpus as the run's input: where it lies, how large it is, its digest."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset

        make: Any = MetaDataset  # abstract by its annotations, not in fact
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow names the kind of source it guessed, twice
            source = resolve_dataset_source(corpus.folder.uri)
        dataset = make(source, name=name, digest=corpus.digest[:36])._to_mlflow_entity()  # MLflow takes 36 characters
        counts = {f: str(getattr(corpus, f)) for f in ("documents", "characters", "heldout_documents", "skipped_files")}
        fields = dict(dataset) | {"tags": {"mlflow.data.context": "training"} | counts}
        self.tell("the data set", dataset=fields, tags={"dataset_digest": corpus.digest})

    def set_tag(self, name: str, text: str) -> None:
        """A tag of the run, by which it is found among others."""
        self.tell(f"the tag {name}", tags={name: text})

    def log_text(self, name: str, text: str) -> None:
        """A file of the run."""
        self.tell(name, files=file_of(name, text.encode()))

    def log_figures(self, history: Mapping[str, Sequence[tuple[int, float]]] | None = None) -> None:
        """Losses, learning rate and speed as pictures under plots/; of this run's own metrics unless given others."""
        from pipeline.tracking.figures import figures

        for name, figure in figures(self.history.curves if history is None else history):
            drawn = io.BytesIO()
            figure.savefig(drawn, format="png")
            self.tell(name, files=file_of(f"plots/{name}", drawn.getvalue()))

    def log_report(self, report: Mapping[str, object]) -> None:
        """report.json as it is, and every number in it as a metric under final/."""
        self.log_metrics(0, dict(_numbers(report, "final")))
        self.log_text("report.json", json.dumps(dict(report), indent=2))

    def log_model(
        self, published: "Published", report: "Report", *, name: str, score: Score, lower_on: LowerOn | None = None
    ) -> PublishedModel:
        """Log and register the published model as `name`: it becomes @candidate, and @champion if it is better. `score`
        is called only where the champion was scored on other held-out text, `lower_on` where all else is won."""
        asked = partial(register, published=published, report=report, name=name, score=score, lower_on=lower_on)
        return self.registered(asked)

    def registered(self, act: Callable[[Any, Any, str], PublishedModel]) -> PublishedModel:
        """What `act(mlflow, client, run id)` makes. A server that is away is waited for. Raises `MlflowAway` where it
        does not come back, and what MLflow raises: a model that is not registered is not published."""
        self._be_there("the model", PATIENCE)
        try:
            return act(self._mlflow, self._client, self.run_id)
        except Exception:
            self._be_there("the model", QUIET)  # else it went away meanwhile, and that is the reason
            raise

    def tell(self, what: str, **fields: Any) -> None:
        """Let MLflow have some fields of `Undelivered`, now or, where it is away, at the end. `what`: for a person."""
        self.debts.tell(what, **fields)

    def check_files(self, yaml: str) -> None:
        """Put config.yaml into the run. Raises `InputError` where MLflow is there and the place of its files is not: no
        model could be logged after all stages. Where a server puts a new experiment's files, only it knows."""
        why = self.debts.tell("config.yaml", files=file_of("config.yaml", yaml.encode()))
        if why is None or self.debts.patiently("config.yaml", self._ask, 0.0) is not None:
            return
        self.debts.forgive()
        raise InputError(
            f"the run's files cannot be written to {redacted(self.artifacts)} ({why.rstrip('.')}): mend that, or give "
            "another tracking.experiment or tracking.uri."
        )

    def check_delivered(self) -> None:
        """Raise `MlflowAway` where something of a closed run was kept for another time."""
        if self.waits:
            raise MlflowAway(self.waits)

    def close(self, status: str, reason: str = "", *, in_a_hurry: bool = False) -> None:
        """Deliver what waits and end the run as FINISHED, FAILED or KILLED; waits for a server that is away, but not
        `in_a_hurry`."""
        try:
            self._end(status, reason, in_a_hurry)
        finally:
            for problem in self.problems:
                log.warning("MLflow: %s", problem)

    def _end(self, status: str, reason: str, in_a_hurry: bool) -> None:
        deadline = time.monotonic() + (NOTICE if in_a_hurry else PATIENCE)
        tags = {"error": reason} if reason else {}
        ended = replace(self._owner, tags=tags, status=status, ended=int(time.time() * 1000))
        self.debts.owe("the end", ended)
        with hurried() if in_a_hurry else nullcontext():
            try:
                self.problems += self._delivery.close(deadline - time.monotonic(), say=self._tell, quiet=QUIET)
                self.debts.settle(deadline, partial(self._set_ended, status))
            except KeyboardInterrupt:  # `Terminated` is one
                self.problems += self._delivery.close(0.0)
                self._keep()
                raise
        self._keep()
        if status != "FINISHED" and self.waits:  # else `check_delivered` says it
            self.problems.append(self.waits)

    def _keep(self) -> None:
        rest = [(m.key, m.step, m.value, m.timestamp) for m in self._delivery.rest()]
        self.waits = self.debts.keep(rest)

    def _set_ended(self, status: str) -> None:
        """MLflow's own `end_run` forgets the run even where it fails: the next attempt is by the client."""
        active = self._mlflow.active_run()
        if active is not None and active.info.run_id == self.run_id:
            self._mlflow.end_run(status)
        else:
            self._client.set_terminated(self.run_id, status)

    def _be_there(self, what: str, patience: float) -> None:
        """Raise `MlflowAway` where the server does not answer within `patience` seconds."""
        deadline = time.monotonic() + patience
        error = self.debts.patiently(what, self._ask, deadline)
        if error is not None and not is_refusal(error):
            raise MlflowAway(
                f"MLflow at {self.store.uri} is away and {what} could not be registered: the same command does it."
            ) from error

    def _ask(self) -> None:
        self._client.get_run(self.run_id)

    def _tell(self, text: str) -> None:
        self._say(f"MLflow at {self.store.uri}: {text}; Ctrl-C gives up")

    def _steps_of(self, name: str) -> list[int]:
        return [metric.step for metric in self._client.get_metric_history(self.run_id, name)]

    def _send(self, metrics: "Sequence[Metric]") -> None:
        new: Sequence[Metric] = ()
        try:
            new = self._held.without(metrics)
            if new:
                self._client.log_batch(self.run_id, metrics=new)
        except Exception as error:
            self._held.doubt(new)  # it may have been written, with the answer lost
            if is_refusal(error):
                raise Refused(first_line(error)) from error
            raise
        self._held.add(new)


def _numbers(data: Mapping[str, object], path: str) -> Iterator[tuple[str, float]]:
    """(path/to/number, value) for every number in nested mappings."""
    for name, value in data.items():
        if name == "models":  # of a task: each has a run of its own
            continue
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}/{name}", float(value)


def legal(name: str) -> str:
    """A name that MLflow takes: one strange character would have the whole batch refused."""
    return re.sub(r"[^\w.\-: /]", "_", name)[:250]
