"""What the model is called, as a config says it; the stage is `stages/publish/stage.py`."""

import re
from dataclasses import dataclass

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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]{1,200}", self.name):
            raise ConfigError("publish.name", self.name, "must be letters, digits, '.', '_' and '-' alone")
        if not self.license:
            raise ConfigError("publish.license", self.license, "must be a license such as apache-2.0, or other")
