"""A frozen teacher, and products with tiled weights, beside torch's own layers."""

import copy

import pytest
import torch
from tiny import VOCAB, tiny_batch, tiny_bert
from torch import nn

from stages.distillation.cpu_tiles import TiledLinear, tiles_pay
from stages.distillation.hardware import KEPT_BYTES
from stages.distillation.losses.head import Head
from stages.distillation.models.frozen import freeze
from stages.distillation.models.parts import decoder, encode, head_input

needs_tiles = pytest.mark.skipif(
    not tiles_pay(torch.empty(1, 1, dtype=torch.bfloat16)), reason="this torch has no products with tiled weights"
)


@needs_tiles
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("shape", [(5, 48), (2, 3, 48)])
def test_tiled_linear_is_linear_then_gelu_within_one_rounding(activation: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 40).bfloat16().requires_grad_(False), torch.randn(shape).bfloat16()
    exact = nn.functional.linear(x.double(), linear.weight.double(), linear.bias.double())
    expected = nn.functional.gelu(exact) if activation == "gelu" else exact
    found = TiledLinear(linear.weight, linear.bias, activation)(x)  # type: ignore[arg-type]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_freeze_in_bf16_predicts_as_the_same_model_in_fp32(activation: str) -> None:
    """As closely as torch's own bf16 layers do: errors are compared, with a half more allowed."""
    teacher, batch = tiny_bert(layers=4, hidden_act=activation).eval(), tiny_batch()
    plain = copy.deepcopy(teacher).bfloat16()
    frozen = freeze(copy.deepcopy(teacher), torch.bfloat16)

    def errors(model) -> list[float]:  # type: ignore[no-untyped-def]
        with torch.inference_mode():
            hidden = encode(model, batch.input_ids_RL)
            logits = decoder(model)(head_input(model, hidden))
            exact = teacher(batch.input_ids_RL, output_hidden_states=True)
            return [(hidden - exact.hidden_states[-1]).norm().item(), (logits - exact.logits).norm().item()]

    for ours, theirs in zip(errors(frozen), errors(plain), strict=True):
        assert 0 < ours <= 1.5 * theirs


def test_freeze_in_fp32_changes_no_layer_and_no_number() -> None:
    teacher, batch = tiny_bert().train(), tiny_batch()
    frozen = freeze(copy.deepcopy(teacher), torch.float32)
    assert not frozen.training
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(isinstance(module, TiledLinear) for module in frozen.modules())
    assert torch.equal(frozen(batch.input_ids_RL).logits, teacher.eval()(batch.input_ids_RL).logits)


@needs_tiles
def test_freeze_keeps_one_copy_of_a_blocks_weights() -> None:
    frozen = freeze(tiny_bert(layers=2), torch.bfloat16)
    block = frozen.bert.encoder.layer[0]
    for layer in (
        block.attention.self.query,
        block.attention.output.dense,
        block.intermediate.dense,
        block.output.dense,
    ):
        assert isinstance(layer, TiledLinear)
        assert layer.weight is None
    assert decoder(frozen).weight is frozen.bert.embeddings.word_embeddings.weight


@needs_tiles
@pytest.mark.parametrize("temperature", [1.0, 2.0, 3.3])
def test_head_logits_over_tiles_are_the_products_within_rounding(temperature: float) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, VOCAB).bfloat16().requires_grad_(False)
    hidden = torch.randn(10, 64).bfloat16()
    expected = linear.double()(hidden.double()) / temperature
    linear.bfloat16()
    out = torch.empty(10, VOCAB, dtype=torch.bfloat16)
    for head in (Head.of(TiledLinear(linear.weight, linear.bias, keep=True)), Head.of(linear)):
        torch.testing.assert_close(head.logits(hidden, temperature, out).double(), expected, rtol=2**-7, atol=2**-6)


@needs_tiles
def test_head_in_another_dtype_leaves_its_tiles_behind() -> None:
    linear, hidden = nn.Linear(8, VOCAB).bfloat16().requires_grad_(False), torch.randn(3, 8)
    head = Head.of(TiledLinear(linear.weight, linear.bias, keep=True)).to(torch.float32)
    logits = head.logits(hidden, 1.0, torch.empty(3, VOCAB))
    torch.testing.assert_close(logits, linear.float()(hidden))


@needs_tiles
def test_head_logits_too_large_to_keep_are_written_into_the_buffer() -> None:
    """Their memory would come from the kernel, and be zeroed, in every chunk."""
    linear = nn.Linear(8, VOCAB).bfloat16().requires_grad_(False)
    out = torch.empty(KEPT_BYTES // (2 * VOCAB) + 1, VOCAB, dtype=torch.bfloat16)
    logits = Head.of(TiledLinear(linear.weight, linear.bias, keep=True)).logits(torch.randn(3, 8).bfloat16(), 2.0, out)
    assert logits.data_ptr() == out.data_ptr()
