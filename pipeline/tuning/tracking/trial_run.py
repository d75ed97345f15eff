"""What a trial's run in MLflow is known by, is called, and holds at its end."""

from collections.abc import Mapping

from pipeline.tuning.ledger import Trial

Key = tuple[str, str]
"""("", number) of a trial, (number of the trial that it confirms, seed) of a confirmation."""


def key_of(trial: Trial) -> Key:
    """By which it is found among the children of a search."""
    return ("", str(trial.number)) if trial.confirms is None else (str(trial.confirms), str(trial.seed))


def key_in(tags: Mapping[str, str]) -> Key | None:
    """The same, of a run by its tags; None where it is somebody else's."""
    if "trial" not in tags or "seed" not in tags:
        return None
    return (tags["confirms"], tags["seed"]) if "confirms" in tags else ("", tags["trial"])


def name_of(trial: Trial) -> str:
    """For a person."""
    return f"trial {trial.number}" if trial.confirms is None else f"confirm {trial.confirms}, seed {trial.seed}"


def tags_of(trial: Trial, hardware: str) -> dict[str, str]:
    """As it starts."""
    tags = {
        "trial": str(trial.number),
        "confirms": "" if trial.confirms is None else str(trial.confirms),
        "seed": str(trial.seed),
        "kind": "trial" if trial.confirms is None else "confirmation",
        "state": "running",
        "hardware": hardware,
    }
    return {name: value for name, value in tags.items() if value}
