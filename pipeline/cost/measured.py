"""How fast steps were on cards and processors: `measured.json`, beside this file, so that an installed `distil` has it.

Nobody writes it by hand: `benchmarks/step.py --record` and `benchmarks/gpu.py --record` put in what they measured, and
`benchmarks/measured.py FILE` what they left elsewhere.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import inf, log
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A step's speed on one device, as a benchmark took it: forward pass, backward pass, clipping and AdamW."""

    device: str
    """The card's name, or the processor's."""
    threads: int | None
    """That computed, on a processor; None on a card."""
    shape: str
    """What was trained: "BERT 12 → 6 × 768, 512 tokens a block"."""
    packing: Literal["documents", "stream"]
    compiled: bool
    micro_batch_flops: float
    """Operations of a micro-batch's matrix products: what a device's speed depends on."""
    micro_batch_tokens: int
    tokens_per_second: float
    command: str
    """Which command measured it."""

    @property
    def flops_per_second(self) -> float:
        """Operations of matrix products that were done in a second."""
        return self.tokens_per_second * self.micro_batch_flops / self.micro_batch_tokens

    @property
    def key(self) -> tuple[object, ...]:
        """What a later measurement takes the place of."""
        place = (self.device, self.threads, self.shape)
        return (*place, self.packing, self.compiled, self.micro_batch_tokens)


def read(file: Path = FILE) -> tuple[Measured, ...]:
    """All that is recorded."""
    return tuple(Measured(**one) for one in json.loads(file.read_text(encoding="utf-8")))


def record(found: Iterable[Measured], file: Path = FILE) -> None:
    """Put measurements in, in the place of those of the same."""
    kept = {one.key: one for one in (*(read(file) if file.exists() else ()), *found)}
    ordered = sorted(kept.values(), key=lambda one: [str(part) for part in one.key[:-1]] + [f"{one.key[-1]:>12}"])
    rows = [json.dumps(asdict(one), ensure_ascii=False) for one in ordered]
    file.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


def nearest(
    recorded: Iterable[Measured], device: str, *, micro_batch_flops: float | None, packing: str, compiled: bool
) -> Measured | None:
    """What is recorded of `device` that is most like a training: compiled or not, packed alike, with micro-batches of
    about as much work (None: as many as fit, so the largest). None where nothing is."""

    def unlike(one: Measured) -> tuple[bool, bool, float]:
        """What counts most first."""
        work = log(one.micro_batch_flops)
        away = -work if micro_batch_flops is None else abs(work - log(micro_batch_flops)) if micro_batch_flops else inf
        return one.compiled != compiled, one.packing != packing, away

    return min((one for one in recorded if one.device == device), key=unlike, default=None)
