"""What is asked of an ablation."""

from dataclasses import dataclass

from pipeline.ablation.variants import NAMES
from pipeline.config.nearest_name import unknown
from pipeline.config.overrides import from_text
from stages.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """Which variants, how often and for how long."""

    seeds: int = 3
    """Trainings of each variant: on the recipe's seed and the next ones."""
    only: tuple[str, ...] = ()
    """Variants by their names; none: all that apply to the teacher."""
    tokens: int | None = None
    """That every student learns from, about: whole steps; none: as many as the recipe's."""

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise InputError(f"--seeds is {self.seeds} but must be at least 2: one seed shows no spread.")
        for name in self.only:
            if name not in NAMES:
                raise unknown("variant", name, NAMES, f"there are {', '.join(NAMES)}.")

    def seeds_from(self, first: int) -> tuple[int, ...]:
        """The seeds: a run of the recipe has the first."""
        return tuple((first + index) % 2**32 for index in range(self.seeds))


def asked(seeds: str | None, only: str | None, tokens: str | None) -> AblationConfig:
    """What a command line asks for; raises `InputError`."""
    names = dict.fromkeys(name.strip().replace("_", "-") for name in (only or "").split(",") if name.strip())
    return AblationConfig(
        seeds=AblationConfig.seeds if seeds is None else from_text(int, seeds, "--seeds"),
        only=tuple(names),
        tokens=None if tokens is None else from_text(int, tokens, "--tokens"),
    )
