"""What benchmarks measured into the table by which `distil describe` tells hours: pipeline/cost/measured.json.

    python benchmarks/measured.py FILE...

FILE is a `gpu.json` of benchmarks/gpu.py, or what benchmarks/step.py printed with `--json`; both write the table
themselves with `--record`, on a machine that has this checkout. A measurement takes the place of the one before of the
same device, shape, packing and micro-batch.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from gpu_parts.sizes import CARD
from shapes import SHAPES, Shape
from step import flops

from pipeline.cost.measured import FILE, Measured, record

PACKINGS = {"ours": "stream", "ours_documents": "documents"}
"""Of step.py: how blocks were packed."""
VARIANTS = {
    "ours": ("stream", False),
    "ours, compiled": ("stream", True),
    "documents": ("documents", False),
    "documents, compiled": ("documents", True),
}
"""Of gpu.py's part `speed_compiled`: how blocks were packed, and whether both models' blocks were compiled."""


def of_step(found: dict[str, Any]) -> Iterator[Measured]:
    """Of what step.py printed, for each of its shapes: a stream, and documents, whose padding is no token."""
    card = found["device"] != "cpu"
    for name, variant in product(SHAPES.keys() & found.keys(), PACKINGS):
        if variant in found[name]:
            yield _measured(
                SHAPES[name],
                SHAPES[name].rows,
                found[name][variant]["tokens_per_second"],
                device=found["device"] if card else found["processor"],
                threads=None if card else found["threads"],
                packing=PACKINGS[variant],
                compiled=False,
                command="benchmarks/step.py",
            )


def of_gpu(found: dict[str, Any]) -> Iterator[Measured]:
    """Of a gpu.json: its parts `speed` and, where both have a size, rather `speed_compiled`."""
    rows = [*found.get("speed", {}).get("speed", ()), *found.get("speed_compiled", {}).get("beside_compiled", ())]
    for row in rows:
        if row["variant"] in VARIANTS:
            packing, compiled = VARIANTS[row["variant"]]
            yield _measured(
                CARD.base,
                row["micro_batch"],
                row["tokens_per_second"],
                device=found["device"],
                threads=None,
                packing=packing,
                compiled=compiled,
                command="benchmarks/gpu.py",
            )


def _measured(shape: Shape, rows: int, tokens_per_second: float, **how: Any) -> Measured:
    return Measured(
        shape=f"BERT {shape.layers} → {shape.layers // 2} × {shape.width}, {shape.length} tokens a block",
        micro_batch_flops=flops(shape, rows),
        micro_batch_tokens=rows * shape.length,
        tokens_per_second=tokens_per_second,
        **how,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    for file in parser.parse_args().files:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.name == "gpu.json" else json.loads(text.strip().splitlines()[-1])
        rows = list(of_gpu(found) if "driver" in found else of_step(found))
        if not rows:
            raise SystemExit(f"{file} has no speeds known here: give a gpu.json or what step.py --json printed")
        record(rows)
        print(f"{len(rows)} speeds of {rows[0].device} are in {FILE}")


if __name__ == "__main__":
    sys.exit(main())
