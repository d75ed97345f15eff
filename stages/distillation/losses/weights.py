"""The weights of the triple loss: apart from its arithmetic, so that a config costs no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The three terms' weights and the temperature; with no teacher only `alpha_mlm` counts."""

    temperature: float = 2.0
    alpha_ce: float = 5.0
    alpha_mlm: float = 2.0
    alpha_cos: float = 1.0
    ce_positions: Literal["all", "masked"] = "all"

    @property
    def taught(self) -> bool:
        """Whether any term asks for the teacher."""
        return self.alpha_ce > 0 or self.alpha_cos > 0
