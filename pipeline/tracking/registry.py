"""The model registry: versions, the alias `candidate` for every published model, `champion` by the gate.

The gate, per registered name: the champion's place goes to a candidate whose held-out loss is lower with
95 % confidence (a paired bootstrap over blocks). Where there is no champion yet, the candidate must beat itself as it
was at step 0, before any training. A champion whose files cannot be read any more (a checkout that moved, a bucket that
was emptied, a model that another tool registered) is not compared, and stays: whether it is worse nobody knows.
Where the config names tasks for its gate, a candidate that is better on held-out text has to be no worse on these.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from pipeline.tracking.delivery import first_line
from pipeline.tracking.pages import CANDIDATE, CHAMPION
from stages.evaluation.significance import paired_bootstrap

if TYPE_CHECKING:
    from stages.evaluation.artifact import Report
    from stages.publish.artifact import Published

UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile, SafetensorError)
"""What reading a model's files raises, beside MLflow's own errors, where they are not there or are damaged."""
Score = Callable[[Path], NDArray[np.float64]]
"""Held-out loss per block, on this run's held-out blocks, of the model in a folder."""
LowerOn = Callable[[Path, str], str]
"""(a model's folder, its weights' digest) to the task of the gate on which the candidate is worse than it, as a part of
a sentence; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A version in the registry and what the gate said."""

    name: str
    version: int
    run_id: str
    """The run that this version came from: an earlier one where the very same model was registered already."""
    is_champion: bool
    verdict: str
    """One sentence: what it was compared with, and the outcome."""

    @property
    def model_uri(self) -> str:
        """What MLflow loads it by."""
        return f"models:/{self.name}/{self.version}"


def register(
    mlflow: Any,
    client: Any,
    run_id: str,
    published: "Published",
    report: "Report",
    *,
    name: str,
    score: Score,
    lower_on: LowerOn | None = None,
) -> PublishedModel:
    """Register the model (once: the same weights scored on the same text are the same version) and judge it."""
    losses = report.folder.read_bytes("losses.npz")
    tags = {
        "weights": published.weights_digest,
        "vocabulary": published.vocabulary_digest,
        "heldout_digest": report.heldout_digest,
        "heldout_mlm_loss": f"{report.student.mlm_loss:.6f}",
        "heldout_top1": f"{report.student.top1:.6f}",
    }
    version = same_version(mlflow, client, name, tags, ("weights", "heldout_digest"))
    version = version or _new(client, run_id, published, name, tags, losses)
    client.set_registered_model_alias(name, CANDIDATE, version.version)
    is_champion, verdict = _judge(mlflow, client, name, version, losses, score, lower_on)
    if is_champion:
        client.set_registered_model_alias(name, CHAMPION, version.version)
    client.set_model_version_tag(name, version.version, "verdict", verdict)
    return PublishedModel(
        name=name, version=int(version.version), run_id=version.run_id, is_champion=is_champion, verdict=verdict
    )


@contextmanager
def model_folder(mlflow: Any, name: str, version: str | int) -> Iterator[Path]:
    """A registered model as a folder that transformers loads, tokenizer included, for as long as the block lasts."""
    with TemporaryDirectory() as folder:
        whole = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=folder))
        for file in (whole / "components" / "tokenizer").iterdir():
            file.rename(whole / "model" / file.name)
        yield whole / "model"


def same_version(mlflow: Any, client: Any, name: str, tags: dict[str, str], keys: Sequence[str]) -> Any:
    """The version that has these of the `tags`, such as its weights and the text that it was scored on, and whose files
    are there; None if there is none."""
    versions = client.search_model_versions(f"name = '{name}'")
    same = (v for v in versions if all(v.tags.get(key) == tags[key] for key in keys))
    return next((v for v in same if _has_files(mlflow, name, v.version)), None)


def _has_files(mlflow: Any, name: str, version: str) -> bool:
    """Whether the model of a version can be reached: `candidate` must not become one that nobody can load."""
    try:
        return bool(mlflow.artifacts.list_artifacts(f"models:/{name}/{version}"))
    except (mlflow.exceptions.MlflowException, OSError):
        return False


def _new(client: Any, run_id: str, published: "Published", name: str, tags: dict[str, str], losses: bytes) -> Any:
    """Log the model into the run, with its losses beside it, and make a version of it."""
    from stages.distillation.families.table import family_of
    from stages.models import model_in
    from stages.tokens.loading import load_tokenizer

    where = f"losses/{tags['weights'][:12]}-{tags['heldout_digest']}"
    log_file(client, run_id, where, "losses.npz", losses)
    with published.folder.as_local() as folder:
        model, tokenizer = model_in(folder), load_tokenizer(folder)
        task = family_of(model.config).objective.pipeline_tag
        info = log_parts({"model": model, "tokenizer": tokenizer}, name, task, tags)
    return new_version(client, run_id, info, name, tags | {"losses": f"{where}/losses.npz"})


def log_file(client: Any, run_id: str, where: str, name: str, content: bytes) -> None:
    """A file into the folder `where` of a run."""
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        client.log_artifact(run_id, str(Path(folder) / name), where)


def new_version(client: Any, run_id: str, info: Any, name: str, tags: dict[str, str]) -> Any:
    """A version of what was logged, under a name that is made where it is new."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    return client.create_model_version(name, info.model_uri, run_id, tags=tags, model_id=info.model_id)


def log_parts(parts: dict[str, Any], name: str, task: str, tags: dict[str, str]) -> Any:
    """Log a transformers model and its tokenizer: parts rather than a pipeline and requirements by name, because
    inferring either wants torchvision."""
    import mlflow.transformers as flavor
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    text = Schema([ColSpec("string")])
    return flavor.log_model(
        parts,
        name=name,
        task=task,
        signature=ModelSignature(inputs=text, outputs=text),
        pip_requirements=[f"{package}=={installed(package)}" for package in ("torch", "transformers")],
        model_card=None,
        tags=tags,
    )


def _judge(
    mlflow: Any, client: Any, name: str, version: Any, losses: bytes, score: Score, lower_on: LowerOn | None
) -> tuple[bool, str]:
    """(whether this version is the champion from now on, the reason)."""
    own = _unpack(losses)
    holder = client.get_registered_model(name).aliases.get(CHAMPION)
    if holder is None:
        found = paired_bootstrap(own["student"], own["student_at_init"])
        return found.is_better, f"first of its name, beside its own step 0: {found}"
    if str(holder) == str(version.version):
        return True, "is the champion already"
    champion = client.get_model_version(name, holder)
    if champion.tags.get("vocabulary") != version.tags.get("vocabulary"):
        return False, f"not comparable with version {holder}: other vocabulary; publish it under another name"
    try:
        incumbent = _champion_losses(mlflow, client, champion, version, score)
    except (*UNREADABLE, mlflow.exceptions.MlflowException) as error:
        why = f"its files cannot be read ({type(error).__name__}: {first_line(error)}), of run {champion.run_id}"
        return False, f"not comparable with version {holder}, which stays champion: {why}"
    if len(incumbent) != len(own["student"]):
        return False, f"not comparable with version {holder}, which stays champion: it was scored on other blocks"
    found = paired_bootstrap(own["student"], incumbent)
    verdict = f"beside version {holder}, champion until now: {found}"
    if not found.is_better or lower_on is None:
        return found.is_better, verdict
    try:
        with model_folder(mlflow, name, holder) as folder:
            lower = lower_on(folder, champion.tags["weights"])
    except (*UNREADABLE, mlflow.exceptions.MlflowException) as error:
        return False, f"{verdict}; not compared on tasks, so it stays: {type(error).__name__}, {first_line(error)}"
    return not lower, f"{verdict}; {lower or 'on no task of the gate lower'}"


def _champion_losses(mlflow: Any, client: Any, champion: Any, version: Any, score: Score) -> NDArray[np.float64]:
    """The champion's losses on the candidate's held-out blocks: recorded, or scored now if the text was another."""
    if champion.tags.get("heldout_digest") != version.tags["heldout_digest"]:
        with model_folder(mlflow, champion.name, champion.version) as folder:
            return score(folder)
    with TemporaryDirectory() as folder:
        path = client.download_artifacts(champion.run_id, champion.tags["losses"], folder)
        return _unpack(Path(path).read_bytes())["student"]


def _unpack(losses: bytes) -> dict[str, NDArray[np.float64]]:
    with np.load(io.BytesIO(losses), allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}
