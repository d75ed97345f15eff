"""Which block shards a training reads: every one, or under `on_damaged="skip"` those that can be read.

Settled once, before the first step, and written down: the plan depends on it, and must be the same after a restart.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import ray

from stages.errors import InputError, unwrap
from stages.storage import Folder
from stages.tokens.blocks import Blocks, Shard
from stages.training.loader import opened

NAME = "shards.json"


@dataclass(frozen=True, kw_only=True)
class UsableShards:
    """The blocks that are left, and which shards were left out."""

    blocks: Blocks
    damaged: tuple[str, ...] = ()


def usable_shards(blocks: Blocks, folder: Folder, *, skip: bool) -> UsableShards:
    """Check the shards, each as a task of Ray: whole at a training's first start, their ends at later ones.

    Raises `InputError` for one that is damaged, unless `skip`; also where nothing is left.
    """
    first = not folder.exists(NAME)
    if not first:
        left_out = tuple(json.loads(folder.read_bytes(NAME))["damaged"])
        blocks = blocks.only(tuple(shard for shard in blocks.shards if shard.name not in left_out))
    found = dict(_faults(blocks, thorough=first))
    if found and not (skip and first):
        raise InputError(next(iter(found.values())))
    whole = tuple(shard for shard in blocks.shards if shard.name not in found)
    if not whole:
        raise InputError(f"none of the {len(blocks.shards)} block shards in {blocks.folder} can be read.")
    if first:
        folder.write_bytes(NAME, json.dumps({"damaged": sorted(found)}).encode())
        left_out = tuple(sorted(found))
    return UsableShards(blocks=blocks.only(whole), damaged=left_out)


def _faults(blocks: Blocks, *, thorough: bool) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) for each shard that is damaged, in order."""
    check = ray.remote(num_cpus=0.25, scheduling_strategy="SPREAD")(fault)  # not within a trial's own placement group
    tasks = [
        check.remote(blocks.folder, shard, blocks.block_length, blocks.columns, thorough) for shard in blocks.shards
    ]
    try:
        for shard, problem in zip(blocks.shards, ray.get(tasks), strict=True):
            if problem is not None:
                yield shard.name, problem
    except ray.exceptions.RayError as error:
        raise unwrap(error) from error


def fault(folder: Folder, shard: Shard, block_length: int, columns: tuple[str, ...], thorough: bool) -> str | None:
    """What is wrong with a shard, in one sentence; None where it is whole. `thorough`: by reading all of it."""
    place = folder / shard.name
    try:
        with opened(place) as file:
            if file.metadata.num_rows != shard.rows:
                return f"the block shard {place} has {file.metadata.num_rows:,} rows and should have {shard.rows:,}."
            for name in columns:
                there = file.schema_arrow.get_field_index(name) >= 0
                width = getattr(file.schema_arrow.field(name).type, "list_size", None) if there else 0
                if width != block_length:
                    what = "tokens" if name == "ids" else f"{name}"
                    return f"the block shard {place} has blocks of {width} {what} and should have {block_length}."
            for group in range(file.num_row_groups if thorough else 0):
                table = file.read_row_group(group, columns=list(columns))
                for name in columns:
                    values = np.asarray(table.column(name).combine_chunks().values)
                    if values.min(initial=0) < 0:
                        what = "token id" if name == "ids" else f"number among its {name}"
                        return f"the block shard {place} has a negative {what}."
                    if name == "words" and values.max(initial=0) > 1:
                        return f"the block shard {place} has a number among its words that is neither 0 nor 1."
    except InputError as error:
        return str(error)
    return None
