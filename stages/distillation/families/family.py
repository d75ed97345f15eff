"""What the pipeline must know of a kind of model, and asks nowhere else.

Shapes: R rows, L length, E width of a word's vector, D width, N positions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel

from stages.distillation.data.segments import Segments
from stages.distillation.models.layers import Layers, choose_layers

LanguageModel: TypeAlias = PreTrainedModel
"""A model of transformers with its head: logits over a vocabulary at every position."""


@dataclass(frozen=True)
class Objective:
    """What a model was taught: which tokens it predicts, and what follows from it for those who load it."""

    name: Literal["masked", "causal"]
    auto_class: Any
    """Of transformers: loads such a model with its head."""
    pipeline_tag: str
    """The task's name on the hub, in transformers' pipelines and in MLflow."""


MASKED = Objective("masked", AutoModelForMaskedLM, "fill-mask")
CAUSAL = Objective("causal", AutoModelForCausalLM, "text-generation")


def _whatever(config: Any) -> None:
    """Refuses nothing."""


def _nothing_folded(config: Any) -> bool:
    return False


def _all_positions(config: Any) -> int:
    return config.max_position_embeddings


def _nothing(config: Any, layers: Sequence[int]) -> dict[str, object]:
    return {}


def _by_depth(choice: Layers, config: Any) -> tuple[int, ...]:
    return choose_layers(choice, config.num_hidden_layers)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model, as functions. The models they get and give are of transformers' own classes."""

    names: Mapping[str, str]
    """What a person calls them, by the `model_type` of their config.json."""
    blocks: str
    """The dotted path, within a model, of the list of its blocks."""
    encode: Callable[[Any, Tensor, Segments | None], Tensor]
    """(model, word vectors (R, L, E), where pieces lie) to the last hidden states (R, L, D): with segments each piece
    as if it stood alone, its positions from its own start; without, a block as one line."""
    head_input: Callable[[Any, Tensor], Tensor]
    """(model, hidden states (N, D)) to what the decoder multiplies, (N, E)."""
    dropouts: tuple[str, ...]
    """The fields of a config that are probabilities of dropout."""
    objective: Objective = MASKED
    check: Callable[[Any], None] = _whatever
    """Raises `InputError`, naming the reason, for a config that no student can be made of."""
    positions: Callable[[Any], int] = _all_positions
    """How many tokens a model with this config reads at most."""
    choose: Callable[[Layers, Any], tuple[int, ...]] = _by_depth
    """Which blocks `distil.layers` means for a teacher with this config, bottom first; raises `ConfigError`."""
    changes: Callable[[Any, Sequence[int]], dict[str, object]] = _nothing
    """(teacher's config, numbers of its blocks) to what else is another in the config of a student made of them."""
    smaller: Callable[[Any, Sequence[int], float], LanguageModel | None] | None = None
    """(teacher, numbers of its blocks, dropout) to a student of a smaller class than the teacher's, in fp32; None where
    that class cannot express it."""
    folds: Callable[[Any], bool] = _nothing_folded
    """Whether a student of the smaller class, of a teacher with this config, has one of the teacher's tables added into
    another."""
    unfold: Callable[[Any, Any], None] | None = None
    """(teacher, such a student): takes it out again."""
    has_head: bool = True
    """Whether the head has weights of its own before the decoder."""
    activation: tuple[str, str] | None = None
    """Where, within a block, a linear layer and the activation behind it are, if a CPU may compute both at once."""
    compiled: Callable[[Any], Sequence[nn.Module]] | None = None
    """What torch.compile is given; None: every block by itself."""

    def called(self, config: Any) -> str:
        """What a person calls a model with this config."""
        return self.names[config.model_type]


def blocks_of(family: Family, model: LanguageModel) -> Sequence[nn.Module]:
    """A model's blocks, bottom first."""
    found: Any = model.get_submodule(family.blocks)
    return list(found)
