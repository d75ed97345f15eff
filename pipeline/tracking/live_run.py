"""An MLflow run while it lasts: metrics, figures, the data set, the report, the model, and how it ends."""

import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.tracking.checks.client import hurried
from pipeline.tracking.deduplication import SentMetrics
from pipeline.tracking.delivery import Delivery, Refused, first_line
from pipeline.tracking.registry import PublishedModel, register
from pipeline.tracking.retry import NOTICE, PATIENCE, QUIET, REFUSALS, retry_until
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from stages.corpus.artifact import Corpus
    from stages.evaluation.artifact import Report
    from stages.publish.artifact import Published

log = logging.getLogger(__name__)


class LiveRun:
    """The run while it lasts. Nothing here may stop a training: what could not be recorded is in `problems`."""

    def __init__(
        self,
        mlflow: Any,
        store: Store,
        started: Any,
        *,
        continued: bool = False,
        say: Callable[[str], object] = log.warning,
    ) -> None:
        """`started`: MLflow's own object of the run. `say` is told where the end of the run has to wait."""
        from pipeline.tracking.figures import History

        self.store, self.experiment_id, self.run_id = store, started.info.experiment_id, started.info.run_id
        self.continued = continued
        self.started = started.info.start_time / 1000
        """When the run began first, in seconds since 1970."""
        self.history = History()
        self.problems: list[str] = []
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(store.uri)
        self._say = say
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

        def send() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow names the kind of source it guessed, twice
                source = resolve_dataset_source(corpus.folder.uri)
            dataset = make(source, name=name, digest=corpus.digest[:36])  # MLflow takes 36 characters
            counts = {
                f: str(getattr(corpus, f)) for f in ("documents", "characters", "heldout_documents", "skipped_files")
            }
            self._mlflow.log_input(dataset, context="training", tags=counts)
            self._client.set_tag(self.run_id, "dataset_digest", corpus.digest)

        self._attempt("the data set", send)

    def set_tag(self, name: str, text: str) -> None:
        """A tag of the run, by which it is found among others."""
        self._attempt(f"the tag {name}", lambda: self._client.set_tag(self.run_id, name, text))

    def log_figures(self, history: Mapping[str, Sequence[tuple[int, float]]] | None = None) -> None:
        """Losses, learning rate and speed as pictures under plots/; of this run's own metrics unless given others."""
        from pipeline.tracking.figures import figures

        for name, figure in figures(self.history.curves if history is None else history):
            self._attempt(name, partial(self._client.log_figure, self.run_id, figure, f"plots/{name}"))

    def log_report(self, report: Mapping[str, object]) -> None:
        """report.json as it is, and every number in it as a metric under final/."""
        self.log_metrics(0, dict(_numbers(report, "final")))
        self._attempt("report.json", lambda: self._client.log_dict(self.run_id, dict(report), "report.json"))

    def log_model(
        self, published: "Published", report: "Report", *, name: str, score: Callable[[Path], NDArray[np.float64]]
    ) -> PublishedModel:
        """Log and register the published model as `name`: it becomes @candidate, and @champion if it is better.

        `score` gives the held-out loss per block of another model of the same vocabulary, as a folder; it is called
        only where the champion was scored on other held-out text. Raises what MLflow raises: a model that is not
        registered is not published. A server that is away is waited for.
        """
        self._patiently("the model", lambda: self._client.get_run(self.run_id), time.monotonic() + PATIENCE)
        return register(self._mlflow, self._client, self.run_id, published, report, name=name, score=score)

    def close(self, status: str, reason: str = "") -> None:
        """Deliver what waits and end the run as FINISHED, FAILED or KILLED; waits for a server that is away."""
        deadline = time.monotonic() + (NOTICE if status == "KILLED" else PATIENCE)
        try:
            self._end(status, reason, deadline)
        finally:
            for problem in self.problems:
                log.warning("MLflow: %s", problem)

    def _end(self, status: str, reason: str, deadline: float) -> None:
        with hurried() if status == "KILLED" else nullcontext():
            try:
                lost = self._delivery.close(deadline - time.monotonic(), say=self._tell, quiet=QUIET)
            except KeyboardInterrupt:  # `Terminated` is one
                self.problems += self._delivery.close(0.0)
                raise
            self.problems += lost
            self._patiently("the end", partial(self._set_ended, status), deadline)
            if reason:
                self._attempt("the reason", lambda: self._client.set_tag(self.run_id, "error", reason))

    def _set_ended(self, status: str) -> None:
        """MLflow's own `end_run` forgets the run even where it fails: the next attempt is by the client."""
        active = self._mlflow.active_run()
        if active is not None and active.info.run_id == self.run_id:
            self._mlflow.end_run(status)
        else:
            self._client.set_terminated(self.run_id, status)

    def _patiently(self, what: str, action: Callable[[], object], deadline: float) -> None:
        """Attempt it until `deadline`, by the monotonic clock."""
        why = retry_until(action, deadline, lambda reason: self._tell(f"{what} of the run waits ({reason})"))
        if why is not None:
            self.problems.append(f"{what} of run {self.run_id} was not recorded: {why}")

    def _tell(self, text: str) -> None:
        self._say(f"MLflow at {self.store.uri}: {text}; Ctrl-C gives up")

    def _steps_of(self, name: str) -> list[int]:
        return [metric.step for metric in self._client.get_metric_history(self.run_id, name)]

    def _send(self, metrics: "Sequence[Metric]") -> None:
        from mlflow.exceptions import MlflowException

        new: Sequence[Metric] = ()
        try:
            new = self._held.without(metrics)
            if new:
                self._client.log_batch(self.run_id, metrics=new)
        except Exception as error:
            self._held.doubt(new)  # it may have been written, with the answer lost
            if isinstance(error, MlflowException) and error.error_code in REFUSALS:
                raise Refused(first_line(error)) from error
            raise
        self._held.add(new)

    def _attempt(self, what: str, action: Callable[[], object]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            action()
        except (MlflowException, OSError) as error:  # OSError: also what the http client raises
            self.problems.append(f"{what} of run {self.run_id} was not recorded: {first_line(error)}")


def _numbers(data: Mapping[str, object], path: str) -> Iterator[tuple[str, float]]:
    """(path/to/number, value) for every number in nested mappings."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}/{name}", float(value)


def legal(name: str) -> str:
    """A name that MLflow takes: one strange character would have the whole batch refused."""
    return re.sub(r"[^\w.\-: /]", "_", name)[:250]
