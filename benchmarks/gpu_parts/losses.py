"""Losses and gradients beside fp64, and beside the same maths written plainly in the same dtype.

Hidden states and weights are of that dtype already, so what differs is the computing alone. "relative" errors are
‖ours − fp64‖ / ‖fp64‖; a fault is one more than half again as large as the plain maths' and larger than rounding a
number to that dtype can be.

Shapes: N positions, V vocabulary, D width.
"""

import time
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from gpu_parts.sizes import Figures, Note, Sizes, synchronize
from stages.distillation.losses.formulas import IGNORE, Coefficients
from stages.distillation.losses.head import Head
from stages.distillation.losses.triple import vocabulary_losses

AT_A_TIME = 256
"""Positions whose logits the plain maths has at once."""
DTYPES = (torch.bfloat16, torch.float16)
NAMES = ("loss", "kl", "cross_entropy", "grad_hidden", "grad_weight", "grad_bias")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Student and teacher before their decoders; weights and biases hold numbers that the dtype has."""

    hidden_ND: Tensor
    weight_VD: Tensor
    bias_V: Tensor
    teacher_ND: Tensor
    teacher_VD: Tensor
    labels_N: Tensor
    coefficients: Coefficients


def problem(positions: int, vocabulary: int, width: int, dtype: torch.dtype, device: torch.device) -> Problem:
    """A teacher whose logits spread by some three nats, and a student near it; T = 1, everything masked."""
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    hidden, weight = draw(positions, width), draw(vocabulary, width) * (2.8 / width**0.5)
    teacher, theirs = hidden + 0.3 * draw(positions, width), weight + 0.3 * weight.std() * draw(vocabulary, width)
    return Problem(
        hidden_ND=hidden.to(dtype),
        weight_VD=weight.to(dtype).float(),
        bias_V=(draw(vocabulary) * 0.1).to(dtype).float(),
        teacher_ND=teacher.to(dtype),
        teacher_VD=theirs.to(dtype),
        labels_N=torch.randint(vocabulary, (positions,), generator=generator, device=device),
        coefficients=Coefficients(1.0, 5 / positions, 2 / positions),
    )


def asked(found: Problem, ce_positions: str, temperature: float) -> Problem:
    """The same with another temperature and, for "all", one label in seven alone."""
    labels, n = found.labels_N, len(found.labels_N)
    if ce_positions == "all":
        labels = torch.where(torch.arange(n, device=labels.device) % 7 == 0, labels, IGNORE)
    masked = int((labels != IGNORE).sum())
    coefficients = Coefficients(temperature, 5 * temperature**2 / n, 2 / masked)
    return Problem(**{**vars(found), "labels_N": labels, "coefficients": coefficients})


def plainly(found: Problem, dtype: torch.dtype) -> list[Tensor]:
    """(loss, Σ KL, Σ CE, three gradients) by autograd from every logit, some positions at a time, in fp64 or `dtype`.

    Losses are multiplied by N while gradients are made, as fp16 would lose them otherwise.
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    leaves = [t.to(wide, copy=True).requires_grad_() for t in (found.hidden_ND, found.weight_VD, found.bias_V)]
    hidden, weight, bias = leaves
    c, sums, n = found.coefficients, torch.zeros(2, dtype=torch.float64, device=hidden.device), len(hidden)
    for start in range(0, n, AT_A_TIME):
        rows = slice(start, start + AT_A_TIME)
        mine = nn.functional.linear(hidden[rows].to(dtype), weight.to(dtype), bias.to(dtype)).to(wide)
        theirs = nn.functional.linear(
            found.teacher_ND[rows].to(dtype), found.teacher_VD.to(dtype), bias.detach().to(dtype)
        )
        log_p, log_q = (torch.log_softmax(z.to(wide) / c.temperature, -1) for z in (mine, theirs))
        kl = nn.functional.kl_div(log_p, log_q, log_target=True, reduction="sum")
        ce = nn.functional.cross_entropy(mine, found.labels_N[rows], ignore_index=IGNORE, reduction="sum")
        ((c.ce * kl + c.mlm * ce) * n).backward()
        sums += torch.stack([kl.detach(), ce.detach()])
    loss = c.ce * sums[0] + c.mlm * sums[1]
    return [loss, sums[0], sums[1], *(leaf.grad.double() / n for leaf in leaves)]


def ours(found: Problem) -> list[Tensor]:
    """The same by the product's own losses, the loss scaled as fp16 is trained."""
    leaves = [t.detach().clone().requires_grad_() for t in (found.hidden_ND, found.weight_VD, found.bias_V)]
    hidden, weight, bias = leaves
    teacher = (found.teacher_ND, Head(found.teacher_VD, found.bias_V.to(found.teacher_VD.dtype)))
    loss, sums = vocabulary_losses(hidden, Head(weight, bias), found.labels_N, found.coefficients, teacher)
    scale = 2.0**14 if hidden.dtype == torch.float16 else 1.0
    (loss * scale).backward()
    return [loss.detach(), sums[0], sums[1], *(leaf.grad.double() / scale for leaf in leaves)]


def relative(found: Tensor, truth: Tensor) -> float:
    """‖found − truth‖ / ‖truth‖ in fp64; infinite where a number is not finite."""
    difference = float((found.double() - truth).norm() / truth.norm())
    return difference if difference == difference else float("inf")


def run(sizes: Sizes, device: torch.device, note: Note) -> None:
    """Every dtype, vocabulary, choice of positions and temperature; a last chunk of 515 positions."""
    positions = sizes.chunk + 515
    rows: list[Figures] = []
    faults: list[str] = []
    for dtype, vocabulary in product(DTYPES, sizes.vocabularies):
        whole = problem(positions, vocabulary, sizes.width, dtype, device)
        for ce_positions, temperature in product(("all", "masked"), (1.0, 2.0, 8.0)):
            one = asked(whole, ce_positions, temperature)
            truth = plainly(one, torch.float64)
            plain = [relative(f, t) for f, t in zip(plainly(one, dtype), truth, strict=True)]
            synchronize(device)
            started = time.perf_counter()
            mine = [relative(f, t) for f, t in zip(ours(one), truth, strict=True)]
            seconds = time.perf_counter() - started
            where = {"dtype": str(dtype)[6:], "V": vocabulary, "ce_positions": ce_positions, "T": temperature}
            rows.append({**where, **dict(zip(NAMES, mine, strict=True)), "first_seconds": seconds})
            rows.append({**where, "dtype": f"{where['dtype']}, plain", **dict(zip(NAMES, plain, strict=True))})
            faults += [
                f"{name} is off by {a:.1e}, the plain maths by {b:.1e}: {where}"
                for name, a, b in zip(NAMES, mine, plain, strict=True)
                if not a <= max(1.5 * b, torch.finfo(dtype).eps / 2)
            ]
            note({"positions": positions, "cases": len(rows) // 2, "faults": faults, "relative_errors": rows})
    note({"worst": {name: max(row[name] for row in rows[::2]) for name in NAMES}})
