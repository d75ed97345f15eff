"""A smaller classifier in the registry: a version, the alias `candidate`, and `champion` by its task's metric.

The gate, per registered name: the champion's place goes to a candidate that is better on the same dev by an interval of
95 % above 0, over examples that both share; the first of its name has it. A champion that was scored on other examples
is not compared, and stays.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.tracking.delivery import first_line
from pipeline.tracking.live_run import LiveRun
from pipeline.tracking.pages import CANDIDATE, CHAMPION
from pipeline.tracking.registry import (
    UNREADABLE,
    PublishedModel,
    log_file,
    log_parts,
    new_version,
    same_version,
)
from stages.classifier.answers import ANSWERS, difference
from stages.classifier.artifact import Shrunk
from stages.classifier.card import pipeline_task
from stages.classifier.publish import loaded_from
from stages.publish.artifact import Published


def register(published: Published, shrunk: Shrunk, name: str, live: LiveRun) -> PublishedModel:
    """Register the model (once: the same weights scored on the same examples are the same version) and judge it."""
    return live.registered(partial(_register, published=published, shrunk=shrunk, name=name))


def _register(
    mlflow: Any, client: Any, run_id: str, *, published: Published, shrunk: Shrunk, name: str
) -> PublishedModel:
    tags = {
        "weights": published.weights_digest,
        "vocabulary": published.vocabulary_digest,
        "task": shrunk.task,
        "metric": shrunk.metric,
        "dev_digest": shrunk.dev_digest,
        "score": f"{shrunk.student.score:.6f}",
        "kept": f"{shrunk.kept:.6f}",
    }
    version = same_version(mlflow, client, name, tags, ("weights", "dev_digest", "metric"))
    version = version or _new(client, run_id, published, shrunk, name, tags)
    client.set_registered_model_alias(name, CANDIDATE, version.version)
    is_champion, verdict = _judge(mlflow, client, version, shrunk, name)
    if is_champion:
        client.set_registered_model_alias(name, CHAMPION, version.version)
    client.set_model_version_tag(name, version.version, "verdict", verdict)
    return PublishedModel(
        name=name, version=int(version.version), run_id=version.run_id, is_champion=is_champion, verdict=verdict
    )


def _new(client: Any, run_id: str, published: Published, shrunk: Shrunk, name: str, tags: dict[str, str]) -> Any:
    """Log the model into the run, with its answers beside it, and make a version of it."""
    where = f"answers/{tags['weights'][:12]}-{tags['dev_digest'][:12]}"
    log_file(client, run_id, where, ANSWERS, shrunk.answers.read_bytes(ANSWERS))
    with published.folder.as_local() as folder:
        model, tokenizer = loaded_from(folder)
        info = log_parts({"model": model, "tokenizer": tokenizer}, name, pipeline_task(shrunk.kind), tags)
    return new_version(client, run_id, info, name, tags | {"answers": f"{where}/{ANSWERS}"})


def _judge(mlflow: Any, client: Any, version: Any, shrunk: Shrunk, name: str) -> tuple[bool, str]:
    """(whether this version is the champion from now on, the reason)."""
    holder = client.get_registered_model(name).aliases.get(CHAMPION)
    if holder is None:
        return True, "first of its name"
    if str(holder) == str(version.version):
        return True, "is the champion already"
    champion = client.get_model_version(name, holder)
    if any(champion.tags.get(tag) != version.tags.get(tag) for tag in ("dev_digest", "metric")):
        return False, f"not comparable with version {holder}, which stays champion: it was scored on other examples"
    try:
        with TemporaryDirectory() as folder:
            path = client.download_artifacts(champion.run_id, champion.tags["answers"], folder)
            before = Path(path).read_bytes()
    except (*UNREADABLE, mlflow.exceptions.MlflowException) as error:
        why = f"its answers cannot be read ({first_line(error)})"
        return False, f"not comparable with version {holder}, which stays champion: {why}"
    own = shrunk.answers.read_bytes(ANSWERS)
    apart, (low, high) = difference(own, before, shrunk.kind, shrunk.metric, shrunk.classes)
    better = "better" if low > 0 else "worse" if high < 0 else "neither better nor worse"
    return low > 0, (
        f"beside version {holder}, champion until now: {shrunk.metric} {apart:+.4f} ({low:+.4f} to {high:+.4f} with "
        f"95 % confidence), {better}"
    )
