"""ModernBERT: a student is a ModernBERT. Some of its blocks look at all positions, the others at those nearby, and a
student's do so in the teacher's rhythm: each is made of a block that looked as far as it does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stages.distillation.data.segments import Segments
from stages.distillation.families.family import Family
from stages.distillation.models.attention_mask import attention_mask
from stages.distillation.models.layers import Layers, choose_layers
from stages.errors import ConfigError

LOCAL = "sliding_attention"


def encode(model: Any, words_RLE: Tensor, segments: Segments | None) -> Tensor:
    """Rotary positions, two masks, and a norm behind the last block."""
    body, config = model.model, model.config
    hidden = body.embeddings(inputs_embeds=words_RLE)
    places_RL = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
    places_RL = places_RL if segments is None else segments.places_RL
    turns, masks = {}, {}
    for kind in dict.fromkeys(config.layer_types):
        turns[kind] = body.rotary_emb(hidden, places_RL, kind)
        window = config.sliding_window if kind == LOCAL else None
        masks[kind] = attention_mask(model, hidden, segments, window=window)
    for block in body.layers:
        kind = block.attention_type
        hidden = block(hidden, attention_mask=masks[kind], position_embeddings=turns[kind])
    return body.final_norm(hidden)


def choose(choice: Layers, config: Any) -> tuple[int, ...]:
    """The rule's blocks, each moved to the nearest that looks as far as its place in the student does; a list has to
    fit as it is. The first block has no norm of its own, so the student's first is always the teacher's."""
    depth, reach = config.num_hidden_layers, config.layer_types
    wanted = choose_layers(choice, depth)
    latest = _latest(reach, len(wanted))
    fitting: list[int] = []
    for place, layer in enumerate(wanted):
        here = range(fitting[-1] + 1, latest[place] + 1) if fitting else range(1)
        fitting.append(min((i for i in here if reach[i] == reach[place]), key=lambda i: abs(i - layer)))
    if isinstance(choice, tuple) and tuple(fitting) != wanted:
        rule = f"must keep the rhythm of blocks that look far and near, from 0 on; try {','.join(map(str, fitting))}"
        raise ConfigError("distil.layers", choice, rule)
    return tuple(fitting)


def _latest(reach: Sequence[str], places: int) -> list[int]:
    """For each of a student's first blocks the last of the teacher's that leaves enough for those behind it."""
    latest: list[int] = []
    end = len(reach)
    for place in reversed(range(places)):
        end = max(i for i in range(end) if reach[i] == reach[place])
        latest.insert(0, end)
    return latest


def changes(config: Any, layers: Sequence[int]) -> dict[str, object]:
    """How far the student's blocks look, and the two angles by the names that transformers 4 reads them by."""
    found: dict[str, object] = {"layer_types": [config.layer_types[i] for i in layers]}
    for reach, name in (("full_attention", "global_rope_theta"), (LOCAL, "local_rope_theta")):
        if reach in config.rope_parameters:
            found[name] = config.rope_parameters[reach]["rope_theta"]
    return found


MODERNBERT = Family(
    names={"modernbert": "ModernBERT"},
    blocks="model.layers",
    encode=encode,
    head_input=lambda model, hidden_ND: model.head(hidden_ND),
    dropouts=("attention_dropout", "mlp_dropout", "embedding_dropout"),
    changes=changes,
    choose=choose,
)
