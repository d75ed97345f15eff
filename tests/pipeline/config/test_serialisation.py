"""Typed dataclasses from plain data and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from pipeline.config.serialisation import from_plain, to_plain
from stages.context import not_fingerprinted
from stages.errors import InputError
from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Shard:
    name: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Blocks:
    folder: Folder
    shards: tuple[Shard, ...]
    losses: Mapping[str, float]
    kind: int | Literal["all"] | tuple[int, ...]
    note: str | None = None
    extra: Any = field(default=None)
    workers: int = not_fingerprinted(1)


def some_blocks(folder: Folder) -> Blocks:
    shards = (Shard(name="a", rows=1), Shard(name="b", rows=2))
    return Blocks(folder=folder, shards=shards, losses={"mlm": 0.5}, kind=(1, 2), extra={"x": [1]})


def test_plain_there_and_back_through_json_is_equal(tmp_path: Path) -> None:
    blocks = some_blocks(Folder(str(tmp_path)))
    assert from_plain(Blocks, json.loads(json.dumps(to_plain(blocks)))) == blocks


def test_plain_results_only_leaves_out_what_runs_elsewhere(tmp_path: Path) -> None:
    assert "workers" not in to_plain(some_blocks(Folder(str(tmp_path))), results_only=True)


@pytest.mark.parametrize("inside", ["", "/blocks/train", "/../../teacher/ffff/model"])
@pytest.mark.parametrize("root", ["/data/one", "s3://bucket/one"])
def test_plain_folder_below_the_root_moves_with_it(root: str, inside: str) -> None:
    places = {
        "": (f"{root}/tokens/abcd", "/data/two/tokens/abcd"),
        "/blocks/train": (f"{root}/tokens/abcd/blocks/train", "/data/two/tokens/abcd/blocks/train"),
        "/../../teacher/ffff/model": (f"{root}/teacher/ffff/model", "/data/two/teacher/ffff/model"),
    }
    before, after = places[inside]
    data = to_plain(Folder(before), base=Folder(f"{root}/tokens/abcd"))
    assert from_plain(Folder, data, base=Folder("/data/two/tokens/abcd")) == Folder(after)


def test_plain_folder_outside_of_the_root_stays() -> None:
    data = to_plain(Folder("s3://models/bert"), base=Folder("/data/one/teacher/abcd"))
    assert from_plain(Folder, data, base=Folder("/data/two/teacher/abcd")) == Folder("s3://models/bert")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rowz": 1}, "there is no field shards.0.rowz; did you mean shards.0.rows?"),
        ({"rows": None}, "shards.0.rows is None but must be a whole number."),
        ({"rows": True}, "shards.0.rows is True but must be a whole number."),
        ({"rows": 1.0}, "shards.0.rows is 1.0 but must be a whole number."),
        ({"name": 5}, "shards.0.name is 5 but must be text."),
    ],
)
def test_plain_that_does_not_fit_names_the_path(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    data = to_plain(some_blocks(Folder(str(tmp_path))))
    data["shards"][0] |= change
    with pytest.raises(InputError) as caught:
        from_plain(Blocks, data)
    assert str(caught.value) == sentence


def test_plain_without_a_field_is_refused_even_where_it_has_a_default(tmp_path: Path) -> None:
    data = to_plain(some_blocks(Folder(str(tmp_path))))
    del data["note"]
    with pytest.raises(InputError, match="note is missing"):
        from_plain(Blocks, data)
    assert from_plain(Blocks, data, complete=False).note is None


def test_plain_of_what_json_cannot_hold_is_a_type_error() -> None:
    @dataclass(frozen=True)
    class Odd:
        made: object

    with pytest.raises(TypeError, match="complex"):
        to_plain(Odd(made=1j))
