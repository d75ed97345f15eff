"""Descriptions on their way to MLflow: written where there is none, or one of ours; what a person wrote stays."""

from collections.abc import Mapping
from typing import Any

from pipeline.tracking.pages import CHAMPION, NOTE, OURS, is_ours, lacking


def deliver_description(client: Any, run_id: str, text: str) -> None:
    """A run's."""
    if is_ours(client.get_run(run_id).data.tags.get(NOTE)):
        client.set_tag(run_id, NOTE, text)


def deliver_experiment(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Its description, and which of MLflow's pages it opens in; of the experiment that the run is in."""
    experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
    for name, text in lacking(experiment.tags, tags).items():
        client.set_experiment_tag(experiment.experiment_id, name, text)


def deliver_model(client: Any, model: Mapping[str, str]) -> None:
    """A version's description, and its registered model's, which is about the champion where there is one.

    `model`: `name`, `version`, its `description`, and `of_name`, the registered model's.
    """
    name, version = model["name"], model["version"]
    if is_ours(client.get_model_version(name, version).description):
        client.update_model_version(name, version, model["description"])
    registered = client.get_registered_model(name)
    shown = str(registered.aliases.get(CHAMPION, version)) == version
    if is_ours(registered.description) and (shown or OURS not in (registered.description or "")):
        client.update_registered_model(name, model["of_name"])
