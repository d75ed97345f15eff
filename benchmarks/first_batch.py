"""How long from the plan to the first masked batch, at 10 % and at 90 % of an epoch?

    python benchmarks/first_batch.py [--blocks 1000000] [--rounds 5] [--json]

A restart in the middle of an epoch is arithmetic, so it must not matter where: Ray is up already, the two take turns,
figures are medians. Beside them the rows that had to be decoded for that batch. With `--json` the last line is one
object.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.runtime.cluster import start_local
from stages.distillation.data.data_order import Plan
from stages.distillation.data.masking import mask_rule
from stages.storage import Folder
from stages.tokens.blocks import Shard
from stages.tokens.packing.shard import ROW_GROUP
from stages.training.loader import Share, stream

LENGTH, VOCABULARY, SPECIAL, SHARD_ROWS, BATCH = 64, 8192, 5, 50_000, 256


def write_blocks(folder: Path, blocks: int) -> tuple[Shard, ...]:
    """Random blocks in shards of 50,000, in row groups as the pipeline writes them."""
    rng = np.random.default_rng(0)
    shards = []
    for number, start in enumerate(range(0, blocks, SHARD_ROWS)):
        rows = min(SHARD_ROWS, blocks - start)
        ids = rng.integers(SPECIAL, VOCABULARY, rows * LENGTH, dtype=np.int32)
        table = pa.table({"ids": pa.FixedSizeListArray.from_arrays(pa.array(ids), LENGTH)})
        name = f"part-{number:05d}.parquet"
        pq.write_table(table, folder / name, row_group_size=ROW_GROUP, compression="zstd", write_page_checksum=True)
        shards.append(Shard(name=name, rows=rows))
    return tuple(shards)


def share_at(folder: Path, shards: tuple[Shard, ...], part: float) -> Share:
    """What one worker is streamed from `part` of the first epoch on."""
    plan = Plan(shard_rows=tuple(shard.rows for shard in shards), global_batch=BATCH, steps=10**6, seed=1)
    rule = mask_rule(
        np.ones(VOCABULARY, dtype=np.int64), special_ids=tuple(range(SPECIAL)), mask_id=4, block_length=LENGTH
    )
    return Share(
        folder=Folder(str(folder)),
        shards=shards,
        plan=plan,
        rule=rule,
        seed=1,
        streams=plan.streams_of(0, 1),
        first_step=int(plan.steps_per_epoch * part),
    )


def first_batch(share: Share) -> float:
    """Seconds until the first batch is there."""
    started = time.perf_counter()
    batches: Iterator[object] = stream(share)
    next(batches)
    return time.perf_counter() - started


def rows_decoded(share: Share) -> int:
    """Rows of all row groups that hold any of the first batch's."""
    piece = share.pieces()[0]
    rows, _ = share.read(piece)
    ends = np.cumsum([shard.rows for shard in share.shards])
    which = np.searchsorted(ends, rows, side="right")
    local = rows - (ends[which] - np.array([shard.rows for shard in share.shards])[which])
    groups = {(int(shard), int(place)) for shard, place in zip(which, local // ROW_GROUP, strict=True)}
    return sum(min(ROW_GROUP, share.shards[shard].rows - place * ROW_GROUP) for shard, place in groups)


def measure(blocks: int, rounds: int) -> dict[str, float]:
    """Medians, the rows beside, and the ratio."""
    seconds: dict[int, list[float]] = {10: [], 90: []}
    with TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_blocks(folder, blocks)
        shares = {percent: share_at(folder, shards, percent / 100) for percent in seconds}
        for turn in range(rounds + 1):
            for percent, share in shares.items():
                took = first_batch(share)
                if turn:  # the first one starts the processes that read
                    seconds[percent].append(took)
        found: dict[str, float] = {"blocks": blocks}
        for percent, share in shares.items():
            found[f"first_batch_seconds_{percent}"] = median(seconds[percent])
            found[f"first_batch_rows_{percent}"] = rows_decoded(share)
        found["first_batch_ratio"] = found["first_batch_seconds_90"] / found["first_batch_seconds_10"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    start_local(2)
    found = measure(asked.blocks, asked.rounds)
    ray.shutdown()
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<26} {value:.3f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
