"""How teacher and student are measured, as a config says it; the stage is `stages/evaluation/stage.py`."""

from dataclasses import dataclass

from stages.context import not_fingerprinted
from stages.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How much held-out text, and how latency is timed."""

    blocks: int = 1024
    """Held-out blocks at most, spread evenly over the held-out text."""
    micro_batch: int = not_fingerprinted(16)
    latency_rounds: int = 30
    """Forward passes timed for each model, in turns."""

    def __post_init__(self) -> None:
        for name in ("blocks", "micro_batch", "latency_rounds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"evaluate.{name}", getattr(self, name), "must be above 0")
