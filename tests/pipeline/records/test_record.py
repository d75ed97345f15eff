"""Fingerprints, records, and the reasons for which a stage runs again."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.config.serialisation import to_plain
from pipeline.records.record import (
    Record,
    Stale,
    differences,
    fingerprint,
    identify,
    newest_other,
    read_artifact,
    read_record,
    write_record,
)
from pipeline.runtime.environment import environment
from stages.context import not_fingerprinted
from stages.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = 2
    threads: int = not_fingerprinted(1)


@dataclass(frozen=True, kw_only=True)
class Config:
    temperature: float = 2.0
    layers: tuple[int, ...] = (0, 2)
    inner: Inner = Inner()
    workers: int = not_fingerprinted(1)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    folder: Folder
    rows: int


BASE = identify("distil", 1, Config(), seed=7, inputs={"tokens": "aa"}, outside={"digest": "bb"})


def a_record(folder: Folder, finished: str = "2026-01-01T00:00:00+00:00", temperature: float = 2.0) -> Record:
    identity = identify("distil", 1, Config(temperature=temperature), seed=7)
    return Record(
        fingerprint=fingerprint(identity),
        identity=identity,
        artifact=to_plain(Artifact(folder=folder, rows=3), base=folder),
        seconds=1.5,
        finished=finished,
        environment=environment(),
    )


def test_fingerprint_of_fields_that_run_elsewhere_is_the_same() -> None:
    other = identify(
        "distil",
        1,
        Config(workers=8, inner=Inner(threads=9)),
        seed=7,
        inputs={"tokens": "aa"},
        outside={"digest": "bb"},
    )
    assert fingerprint(other) == fingerprint(BASE)


def test_fingerprint_of_a_whole_number_in_a_float_field_is_the_same() -> None:
    whole = replace(BASE, config=to_plain(Config(temperature=2), results_only=True))
    assert fingerprint(whole) == fingerprint(BASE)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "teacher"},
        {"version": 2},
        {"seed": 8},
        {"seed": None},
        {"inputs": {"tokens": "ab"}},
        {"inputs": {}},
        {"outside": {"digest": "bc"}},
        {"config": to_plain(Config(temperature=2.5), results_only=True)},
        {"config": to_plain(Config(layers=(2, 0)), results_only=True)},
        {"config": to_plain(Config(inner=Inner(depth=3)), results_only=True)},
    ],
)
def test_fingerprint_of_anything_else_differs(change: dict[str, object]) -> None:
    assert fingerprint(replace(BASE, **change)) != fingerprint(BASE)


def test_fingerprint_in_another_process_is_the_same() -> None:
    program = (
        "from pipeline.records.record import Identity, fingerprint; "
        f"print(fingerprint({BASE!r}))"  # a dataclass's repr is the call that makes it
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == fingerprint(BASE)


def test_differences_name_every_field_with_both_values() -> None:
    config = to_plain(Config(temperature=3.0, layers=(0,)), results_only=True)
    now = replace(BASE, version=2, seed=8, config=config, inputs={"tokens": "xx", "teacher": "yy"}, outside={})
    assert differences(BASE, now) == (
        "code version 1 → 2",
        "seed 7 → 8",
        "distil.temperature 2.0 → 3.0",
        "distil.layers '0,2' → '0'",
        "input tokens changed",
        "input teacher added",
        "digest gone",
    )


def test_differences_with_fields_of_another_version_say_so() -> None:
    older = replace(BASE, config={"temperature": 2.0, "alpha": 5.0})
    found = differences(older, BASE)
    assert "distil.alpha 5.0 → (no such field)" in found
    assert "distil.inner.depth (no such field) → 2" in found


def test_record_written_is_read_again_where_it_was_moved(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "old" / "distil" / "abcd"))
    write_record(folder, a_record(folder))
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Folder(str(tmp_path / "new" / "distil" / "abcd"))
    record = read_record(moved)
    assert record is not None
    assert read_artifact(Artifact, record, moved) == Artifact(folder=moved, rows=3)


def test_record_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_record(Folder(str(tmp_path))) is None
    assert newest_other(Folder(str(tmp_path / "nowhere")), than="x") is None


def test_record_that_is_damaged_or_of_another_version_is_stale(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write_bytes("record.json", b'{"stage": ')
    with pytest.raises(Stale, match="damaged"):
        read_record(folder)
    data = to_plain(a_record(folder))
    del data["seconds"]
    folder.write_bytes("record.json", json.dumps(data).encode())
    with pytest.raises(Stale, match="another version: seconds is missing"):
        read_record(folder)


def test_artifact_of_a_class_that_has_other_fields_by_now_is_stale(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Newer:
        folder: Folder
        rows: int
        tokens: int

    folder = Folder(str(tmp_path))
    with pytest.raises(Stale, match="tokens is missing"):
        read_artifact(Newer, a_record(folder), folder)


def test_newest_other_is_the_one_finished_last(tmp_path: Path) -> None:
    stage = Folder(str(tmp_path))
    for name, day, temperature in (("a", "03", 3.0), ("b", "05", 5.0), ("c", "09", 9.0)):
        write_record(stage / name, a_record(stage / name, f"2026-01-{day}T00:00:00+00:00", temperature))
    (stage / "d").write_bytes("record.json", b"not json")
    found = newest_other(stage, than="c")
    assert found is not None
    assert found.identity.config["temperature"] == 5.0
