"""What MLflow was not there to take: kept beside its run, in the workdir's undelivered.jsonl, and delivered later.

By the same command, or by `distil sync RUN`; until then a command ends with status 75. A line is what one run lacks.
"""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.tracking.away.descriptions import deliver_description, deliver_experiment, deliver_model
from pipeline.tracking.deduplication import SentMetrics
from stages.errors import InputError
from stages.storage import Folder

NAME = "undelivered.jsonl"
Value = tuple[str, int, float, int]
"""(name, optimiser step, value, milliseconds since 1970) of a metric."""
_BATCH = 1000
"""Metric values in a request, at most."""


class MlflowAway(Exception):
    """Something of a run waits for an MLflow that is away; says in a sentence what, and how it gets there."""


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """What a run in MLflow lacks; delivering it twice changes nothing."""

    store: str
    """MLflow's address, absolute."""
    run_id: str
    metrics: Sequence[Value] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    no_tag: str = ""
    """One that the run must not have any more."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Content in base64, by its path below the run's artifacts."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """The fields of MLflow's own object, and `tags`; empty for none."""
    description: str = ""
    """Of the run, in Markdown."""
    experiment: Mapping[str, str] = field(default_factory=dict)
    """Tags of the run's experiment."""
    model: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of a registered model and of a version, as `deliver_model` takes them; empty for none."""
    status: str = ""
    """Such as FINISHED; empty where the run goes on."""
    ended: int = 0
    """When, in milliseconds since 1970."""


def kept(workdir: Path) -> list[Undelivered]:
    """What waits in a workdir, the oldest first. Raises `InputError` where the file is damaged."""
    file = workdir / NAME
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [Undelivered(**json.loads(line)) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}): mend it, or remove it to give up what it holds.") from error


def keep(workdir: Path, items: Iterable[Undelivered]) -> None:
    """Add to what waits in a workdir; the file is written whole or stays as it was. Raises OSError."""
    rewrite(workdir, [*kept(workdir), *items])


def rewrite(workdir: Path, items: Sequence[Undelivered]) -> None:
    """Let these wait in a workdir and nothing else; raises OSError."""
    if not items:
        (workdir / NAME).unlink(missing_ok=True)
        return
    text = "".join(json.dumps(asdict(item)) + "\n" for item in items)
    Folder(str(workdir)).write_bytes(NAME, text.encode())


def summary(items: Sequence[Undelivered]) -> str:
    """For a person, such as "48 metric values, config.yaml and the end of the run"."""
    values = sum(len(item.metrics) for item in items)
    texts = sum(len(item.params) + len(item.tags) + len(item.experiment) for item in items)
    parts = [f"{values:,} metric value{'s' if values > 1 else ''}"] if values else []
    parts += [f"{texts:,} parameters and tags"] if texts else []
    parts += dict.fromkeys(name for item in items for name in item.files)
    parts += ["the data set"] if any(item.dataset for item in items) else []
    parts += ["descriptions"] if any(item.description or item.model for item in items) else []
    ends = len({item.run_id for item in items if item.status})
    parts += [f"the end of {'the run' if ends == 1 else f'{ends:,} runs'}"] if ends else []
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or "nothing"


def deliver(client: Any, item: Undelivered, end: Callable[[], object] | None = None) -> None:
    """Give it to MLflow: values that the run holds already are passed over, and so are parameters. `end`: instead of
    the client's own way to end a run.

    Raises what MLflow raises; what had been delivered by then does no harm the next time.
    """
    from mlflow.entities import Param, RunTag

    run_id = item.run_id
    _deliver_metrics(client, item)
    if item.params:
        known = client.get_run(run_id).data.params  # a parameter is written once
        client.log_batch(run_id, params=[Param(k, v) for k, v in item.params.items() if k not in known])
    if item.no_tag and item.no_tag in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, item.no_tag)
    for path, content in item.files.items():
        _deliver_file(client, run_id, PurePosixPath(path), base64.b64decode(content))
    if item.dataset:
        _deliver_dataset(client, run_id, item.dataset)
    if item.description:
        deliver_description(client, run_id, item.description)
    if item.experiment:
        deliver_experiment(client, run_id, item.experiment)
    if item.model:
        deliver_model(client, item.model)
    if item.status:
        end() if end is not None else client.set_terminated(run_id, item.status, item.ended)
    if item.tags:
        client.log_batch(run_id, tags=[RunTag(name, text) for name, text in item.tags.items()])


def _deliver_metrics(client: Any, item: Undelivered) -> None:
    from mlflow.entities import Metric

    run_id = item.run_id
    held = SentMetrics(lambda name: [one.step for one in client.get_metric_history(run_id, name)], fresh=False)
    values = [Metric(name, value, when, step) for name, step, value, when in item.metrics]
    for start in range(0, len(values), _BATCH):
        new = held.without(values[start : start + _BATCH])
        if new:
            client.log_batch(run_id, metrics=new)
            held.add(new)


def _deliver_file(client: Any, run_id: str, path: PurePosixPath, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        file.write_bytes(content)
        client.log_artifact(run_id, str(file), None if path.parent == PurePosixPath() else str(path.parent))


def _deliver_dataset(client: Any, run_id: str, fields: Mapping[str, Any]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags = [InputTag(name, text) for name, text in fields["tags"].items()]
    dataset = Dataset(**{name: value for name, value in fields.items() if name != "tags"})
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])


def file_of(path: str, content: bytes) -> dict[str, str]:
    """One file, as `Undelivered.files` has it."""
    return {path: base64.b64encode(content).decode()}
