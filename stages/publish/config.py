"""What the model is called, as a config says it; the stage is `stages/publish/stage.py`."""

import re
from dataclasses import dataclass

from stages.context import not_fingerprinted
from stages.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """What the model is called and what its card says beyond the measured figures."""

    name: str = "distilray-student"
    """The registered model's name and the card's title."""
    license: str = "apache-2.0"
    """As the Hugging Face hub spells it; must fit the teacher's and the corpus's."""
    language: tuple[str, ...] = ("en",)
    """ISO 639-1 codes of the corpus."""
    datasets: tuple[str, ...] = ()
    """Hub names of the corpus's data sets, for the card."""
    description: str = ""
    """A sentence or two of your own for the card."""
    gate: tuple[str, ...] = not_fingerprinted(())
    """Names of `evaluate.tasks` on which a new champion must not be lower than the one before, beyond the 95 % interval
    of the difference; the champion is fine-tuned on them by the same rules. Beside its loss on held-out text."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{1,200}", self.name):
            raise ConfigError("publish.name", self.name, "must be letters, digits, '.', '_' and '-' alone")
        if not self.license:
            raise ConfigError("publish.license", self.license, "must be a license such as apache-2.0, or other")
