"""The GPU's path of the losses, run on the CPU: its kernel by Triton's interpreter, and what it falls back to."""

import pytest
import torch
from torch import Tensor

from stages.distillation.losses import cpu as losses_cpu
from stages.distillation.losses import gpu as losses_gpu
from stages.distillation.losses.formulas import IGNORE, Coefficients, Gradients
from stages.distillation.losses.head import Head

CPU = torch.device("cpu")
VOCAB = 77
"""Not a multiple of anything: rows have room for 128."""


@pytest.fixture(params=["kernel", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Through the kernel, a row in several blocks of the vocabulary; or as where Triton cannot compile."""
    if request.param == "kernel":
        kernel = pytest.importorskip(
            "stages.distillation.losses.gpu_kernel", reason="Triton is for Linux on x86-64 and Arm"
        )
        monkeypatch.setattr(kernel, "BLOCK", 32)
        assert losses_gpu.compiles(CPU), "conftest.py has Triton interpret its kernels"
    else:
        monkeypatch.setattr(losses_gpu, "compiles", lambda device: False)
        monkeypatch.setattr(losses_gpu, "PLAIN_ROWS", 6)
    return str(request.param)


def some(seed: int, positions: int, scale: float = 1.0) -> tuple[Tensor, Head]:
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, bias = (torch.randn(*s, generator=generator) for s in ((positions, 8), (VOCAB, 8), (VOCAB,)))
    return hidden, Head(weight * scale, bias)


def double(hidden: Tensor, head: Head) -> tuple[Tensor, Head]:
    return hidden.double(), Head(head.weight_VD.double(), head.bias_V.double())


def labels_of(positions: int) -> Tensor:
    return (torch.arange(positions) * 5 % VOCAB).where(torch.arange(positions) % 3 == 0, IGNORE)


def assert_same(found: Gradients, expected: Gradients) -> None:
    """Within fp32's rounding, beside fp64."""
    for name in ("sums", "hidden_ND", "weight_VD", "bias_V"):
        ours, truth = getattr(found, name), getattr(expected, name)
        assert (ours - truth).norm() <= 2e-6 * truth.norm(), name


@pytest.mark.parametrize("taught", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_gradients_are_the_cpus_in_fp64_within_rounding(
    scale: float, temperature: float, taught: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's are compared with a plain step in test_losses.py. 20 positions in chunks of 8, the last one short; at
    scale 30 most probabilities are 0 in fp32."""
    monkeypatch.setattr(losses_gpu, "positions_at_a_time", lambda positions, row_bytes: 8)
    mine, teacher = some(0, 20, scale), some(1, 20, scale) if taught else None
    asked = labels_of(20), Coefficients(temperature if taught else 1.0, 0.7, 0.3)
    found = losses_gpu.gradients(*mine, *asked, teacher)
    assert_same(found, losses_cpu.gradients(*double(*mine), *asked, double(*teacher) if teacher else None))


def test_gradients_in_fp64_take_ordinary_operations(way: str) -> None:
    asked = *double(*some(0, 20)), labels_of(20), Coefficients(1, 1, 1)
    found, expected = losses_gpu.gradients(*asked, None), losses_cpu.gradients(*asked, None)
    torch.testing.assert_close(found.weight_VD, expected.weight_VD, rtol=1e-12, atol=1e-14)


def test_gradients_of_no_positions_are_nothing(way: str) -> None:
    hidden, head = some(0, 0)
    found = losses_gpu.gradients(hidden, head, torch.zeros(0, dtype=torch.int64), Coefficients(2, 1, 1), some(1, 0))
    assert found.sums.tolist() == [0, 0]
    assert found.weight_VD.shape == (VOCAB, 8)
    assert found.weight_VD.count_nonzero() == found.bias_V.count_nonzero() == 0


@pytest.mark.parametrize(
    ("positions", "row_bytes", "expected"),
    [(10**6, 2 * 30_528, 4352), (10**6, 2 * 250_048, 512), (10**6, 2 * 10**7, 256), (100, 2 * 30_528, 100), (0, 2, 1)],
)
def test_positions_at_a_time_hold_a_quarter_of_a_gibibyte(positions: int, row_bytes: int, expected: int) -> None:
    found = losses_gpu.positions_at_a_time(positions, row_bytes)
    assert found == expected
    assert found <= 256 or found * row_bytes <= 2**28


def test_compiles_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, outside of its interpreter, Triton has nothing to compile for."""
    kernel = pytest.importorskip(
        "stages.distillation.losses.gpu_kernel", reason="Triton is for Linux on x86-64 and Arm"
    )

    def broken(*args: object, **kwargs: object) -> None:
        raise FileNotFoundError("gcc")

    monkeypatch.setattr(kernel, "launch", broken)
    losses_gpu.why_not_compiled.cache_clear()
    with pytest.warns(UserWarning, match=r"Triton cannot compile here \(FileNotFoundError: gcc\).*C compiler"):
        assert not losses_gpu.compiles(CPU)
    losses_gpu.why_not_compiled.cache_clear()
