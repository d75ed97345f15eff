"""An ablation in MLflow while it lasts: below its own run a child for each training.

A child is a run as any other: its metrics are kept while the server is away, and are sent once. Nothing here stops a
training: where a child could not be made, the training goes on without one, and the same command makes it later.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.overrides import Scalar
from pipeline.tracking.away.undelivered import MlflowAway
from pipeline.tracking.delivery import first_line
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.run import ending

PARENT, VARIANT, SEED = "mlflow.parentRunId", "variant", "seed"
"""Tags: the run that a run is below, and which training it is."""


class Children:
    """The runs of an ablation's trainings; used by one thread, the driver's."""

    def __init__(self, live: LiveRun, workdir: Path, say: Callable[[str], object]) -> None:
        """`live`: the ablation's own run."""
        import mlflow

        self._mlflow: Any = mlflow
        self._client: Any = mlflow.MlflowClient(live.store.uri)
        self._live, self._workdir, self._say = live, workdir, say
        self._unmade: set[tuple[str, int]] = set()
        self._waits: list[str] = []
        self._known: dict[tuple[str, int], Any] | None = None
        """Those from an earlier start; None until they are read."""

    @contextmanager
    def child(self, name: str, seed: int, settings: Mapping[str, Scalar]) -> Iterator[LiveRun | None]:
        """The run of one training, ended with what became of the block; None where it has ended before, with all that
        there was to tell, and where none could be made. `settings`: the fields in which it differs from the recipe."""
        made = self._found_or_made(name, seed)
        if made is None:
            yield None
            return
        made.tell("the settings", params={VARIANT: name, SEED: str(seed)} | {k: str(v) for k, v in settings.items()})
        try:
            with ending(made):
                yield made
        finally:
            self._waits += [made.waits] if made.waits else []

    def check_delivered(self) -> None:
        """Raise `MlflowAway` where something of a child was kept for another time."""
        if self._waits:
            raise MlflowAway(self._waits[0])

    @property
    def all_delivered(self) -> bool:
        """Whether MLflow has every child, and all of it."""
        return not self._waits and not self._unmade

    def _found_or_made(self, name: str, seed: int) -> LiveRun | None:
        """The child, made, or running again; None as `child` says it."""
        from mlflow.exceptions import MlflowException

        tags = {PARENT: self._live.run_id, VARIANT: name, SEED: str(seed), "kind": "ablation"}
        try:
            known = self._of_before().get((name, seed))
            if known is None:
                run = self._client.create_run(self._live.experiment_id, tags=tags, run_name=f"{name}, seed {seed}")
            elif known.info.status == "FINISHED":
                return None
            else:
                self._client.update_run(known.info.run_id, status="RUNNING")
                run = self._client.get_run(known.info.run_id)
        except (MlflowException, OSError) as error:
            self._live.problems.append(f"the run of {name}, seed {seed}, was not made: {first_line(error)}")
            self._unmade.add((name, seed))
            self._live.debts.lacks = f"the runs of {len(self._unmade):,} trainings"
            return None
        continued = known is not None
        return LiveRun(self._mlflow, self._live.store, run, self._workdir, continued=continued, say=self._say)

    def _of_before(self) -> dict[tuple[str, int], Any]:
        """The children that there were as the ablation started, by variant and seed."""
        if self._known is None:
            below = self._client.search_runs([self._live.experiment_id], f"tags.`{PARENT}` = '{self._live.run_id}'")
            trainings = [run for run in below if VARIANT in run.data.tags and SEED in run.data.tags]
            self._known = {(run.data.tags[VARIANT], int(run.data.tags[SEED])): run for run in trainings}
        return self._known
