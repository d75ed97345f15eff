"""A teacher that is only read: no dropout, no gradients, one dtype, weights as the hardware reads them."""

import torch
from torch import nn
from transformers import BertForMaskedLM
from transformers.activations import GELUActivation

from stages.distillation.cpu_tiles import TiledLinear, tiles_pay


def freeze(teacher: BertForMaskedLM, dtype: torch.dtype) -> BertForMaskedLM:
    """Changed in place: it computes what it did, in `dtype`, and can be neither trained nor saved any more.

    Its weights can have the dtype that its products have anyway: half the memory, and no casts.
    """
    teacher = teacher.eval().requires_grad_(False).to(dtype)
    head = teacher.cls.predictions
    if not tiles_pay(head.decoder.weight):
        return teacher
    for block in teacher.bert.encoder.layer:
        own, feed_forward = block.attention.self, block.intermediate
        own.query, own.key, own.value = (TiledLinear(linear) for linear in (own.query, own.key, own.value))
        block.attention.output.dense, block.output.dense = (
            TiledLinear(linear) for linear in (block.attention.output.dense, block.output.dense)
        )
        gelu = type(feed_forward.intermediate_act_fn) is GELUActivation
        feed_forward.dense = TiledLinear(feed_forward.dense, "gelu" if gelu else "none")
        if gelu:
            feed_forward.intermediate_act_fn = nn.Identity()
    head.transform.dense, head.decoder = TiledLinear(head.transform.dense), TiledLinear(head.decoder, keep=True)
    return teacher
