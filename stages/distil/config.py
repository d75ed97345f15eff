"""How a student learns, as a config says it; the stage is `stages/distil/stage.py`."""

from dataclasses import dataclass, replace
from typing import Literal

from stages.context import since
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.layers import Layers, Start
from stages.errors import ConfigError
from stages.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class DistilConfig(TrainConfig):
    """How the student learns: the triple loss on top of `TrainConfig`. The defaults are the released DistilBERT's."""

    temperature: float = 2.0
    """T of the softened cross-entropy; 1 is the plain softmax (Hinton et al. 2015, section 2)."""
    alpha_ce: float = 5.0
    """Weight of T² · KL(teacher ‖ student at T)."""
    alpha_mlm: float = 2.0
    """Weight of the masked-LM loss; of a causal teacher's student, of the next-token loss."""
    alpha_cos: float = 1.0
    """Weight of 1 − cosine between the last hidden states."""
    ce_positions: Literal["all", "masked"] = "all"
    """Where the KL term counts: at every position as in the paper, or at masked ones, with no head work elsewhere."""
    layers: Layers = "alternate"
    """Teacher blocks the student starts from: "alternate" (0, 2, 4, …), "released" (0, 2, 4, 7, 9, 11), how many, or
    which."""
    student: Literal["auto", "same"] = since("auto")
    """auto: a BERT's student is a DistilBERT where that class can express it, any other's is of the teacher's class;
    same: of the teacher's class."""
    start: Start = since("teacher")
    """teacher: the student starts with the teacher's weights. To ask what they are worth, random: with none of them;
    random_head: with all but the head's own; unfolded: a BERT's positions without its token types added in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise ConfigError("distil.temperature", self.temperature, "must be above 0; 2 is the paper's")
        alphas = {name: getattr(self, name) for name in ("alpha_ce", "alpha_mlm", "alpha_cos")}
        for name, value in alphas.items():
            if value < 0:
                raise ConfigError(f"distil.{name}", value, "must not be negative")
        if not any(alphas.values()):
            raise ConfigError("distil.alpha_ce, alpha_mlm, alpha_cos", 0, "must not all be 0; 5, 2, 1 is the paper's")

    def without_teacher(self) -> "DistilConfig":
        """The same training from the same start, with the masked-LM loss alone."""
        return replace(self, alpha_ce=0.0, alpha_cos=0.0, alpha_mlm=self.alpha_mlm or 1.0)

    def loss_weights(self) -> LossWeights:
        """The part of this config that the loss reads."""
        return LossWeights(
            temperature=self.temperature,
            alpha_ce=self.alpha_ce,
            alpha_mlm=self.alpha_mlm,
            alpha_cos=self.alpha_cos,
            ce_positions=self.ce_positions,
        )
