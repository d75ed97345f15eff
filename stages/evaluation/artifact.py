"""What the evaluate stage makes."""

from dataclasses import dataclass
from typing import Literal

from stages.storage import Folder

Predicts = Literal["masked", "causal"]
"""Which tokens a model is asked for: masked ones, or the next ones."""
LOSS: dict[Predicts, str] = {"masked": "masked-LM loss", "causal": "next-token loss"}
"""What `mlm_loss` is called where a person reads it."""


@dataclass(frozen=True, kw_only=True)
class ModelScore:
    """One model: how large, how good on held-out text, how fast."""

    parameters: int
    """Tied weights counted once."""
    bytes: int
    """Of the parameters in fp32."""
    mlm_loss: float
    """Mean negative log-likelihood, in nats, of the masked tokens; of a causal model's, of the next ones."""
    perplexity: float
    top1: float
    """Share of those tokens ranked first."""
    latency_ms: float
    """Median encoder forward without the vocabulary head: batch 1, one full block, fp32, CPU."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The student beside its teacher and beside itself at step 0. `losses.npz` in the folder has each model's mean
    masked-LM loss per held-out block, (blocks,) in fp64, in one order for all."""

    folder: Folder
    teacher: ModelScore
    student: ModelScore
    student_at_init: ModelScore
    kept_top1: float
    """Student's top-1 / teacher's; 0 where the teacher itself knows nothing."""
    size_ratio: float
    """Student's parameters / teacher's."""
    speedup: float
    """Teacher's latency / student's."""
    agreement: float
    """Share of the positions at which a token is asked for where student and teacher rank the same one first."""
    kl: float
    """KL(teacher ‖ student) at T = 1 over these positions, in nats."""
    cosine: float
    """Between last hidden states, over all positions."""
    heldout_digest: str
    heldout_tokens: int
    objective: Predicts = "masked"
    """What the tokens were that were asked for: masked ones, or next ones."""
