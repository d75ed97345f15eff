"""What a labelled task says of a student beside its teacher."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["classes", "number", "tokens", "spans"]
"""What is asked for: a class, or a number, of a text or two; a class of each token; a place in a text."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task. Scores are medians over the seeds, in the metric's own unit (0 to 1, or −1 to 1)."""

    name: str
    metric: str
    """Such as "accuracy", "mcc" or "span_f1"; higher is better in all of them."""
    kind: Kind
    n: int
    """Examples that were scored."""
    seeds: int
    """Fine-tunings of each model."""
    teacher: float
    student: float
    kept: float
    """Student's score / teacher's."""
    interval: tuple[float, float]
    """Of `kept`: 95 % over examples and seeds."""
    others: dict[str, float]
    """Scores of further models by what they are called, such as "student at step 0"."""
