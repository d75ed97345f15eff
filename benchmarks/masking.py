"""What masking costs: rows a second, by tokens, by words and by spans, in turns in one process.

    python benchmarks/masking.py            # a table
    python benchmarks/masking.py --json

Masking runs in tasks beside the training. A step of BERT-base takes some 900 blocks of 512 tokens a second on an H100.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from stages.distillation.data.masking import MaskRule, mask, mask_rule
from stages.distillation.data.rows import Rows

VOCAB, SPECIAL, ROWS, TURNS = 30_522, (0, 100, 101, 102, 103), 1024, 7
CONTINUES = 0.25
"""Share of tokens that go on with a word: 1.33 tokens a word, as English text in BERT's vocabulary."""


def blocks_of(length: int) -> Rows:
    """Blocks of two pieces without padding."""
    rng = np.random.default_rng(0)
    ids_RL = rng.integers(1000, VOCAB, (ROWS, length)).astype(np.int32)
    words_RL = (rng.random(ids_RL.shape) >= CONTINUES).astype(np.uint8)
    half = length // 2
    for place, token in ((0, 101), (half - 1, 102), (half, 101), (length - 1, 102)):
        ids_RL[:, place], words_RL[:, place] = token, 1
    segments_RL = np.broadcast_to(1 + (np.arange(length) >= half), ids_RL.shape).astype(np.int16)
    return Rows(ids_RL, segments_RL, words_RL)


def rule_of(unit: str, length: int) -> MaskRule:
    """The paper's rule, for made-up counts."""
    counts = np.random.default_rng(1).zipf(1.3, VOCAB)
    return mask_rule(counts, special_ids=SPECIAL, mask_id=103, block_length=length, unit=unit)  # type: ignore[arg-type]


def measured(length: int) -> dict[str, float]:
    """Rows a second by unit, the median of some turns."""
    blocks, rows = blocks_of(length), np.arange(ROWS)
    rules = {unit: rule_of(unit, length) for unit in ("token", "word", "span")}
    seconds: dict[str, list[float]] = {unit: [] for unit in rules}
    for turn in range(TURNS + 1):
        for unit, rule in rules.items():
            started = time.process_time()  # masking has one thread, and the machine may have other work
            mask(blocks, rows, epoch=turn, seed=0, rule=rule)
            if turn:
                seconds[unit].append(time.process_time() - started)
    return {unit: ROWS / median(values) for unit, values in seconds.items()}


def main() -> None:
    """Measure and print."""
    found = {length: measured(length) for length in (128, 512)}
    if "--json" in sys.argv:
        print(json.dumps(found, indent=1))
        return
    print("| L | token, rows/s | word | span |\n|---:|---:|---:|---:|")
    for length, one in found.items():
        beside = (f"{one[unit]:,.0f} ({one[unit] / one['token']:.2f} ×)" for unit in ("word", "span"))
        print(f"| {length} | {one['token']:,.0f} | {' | '.join(beside)} |")


if __name__ == "__main__":
    main()
