"""Folders on a disk and in an object store behave alike; in the store, what is written last counts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
import torch
from object_store import SECRET, ObjectStore
from published import tiny_tokenizer
from tiny import WORDS, all_rows, tiny_bert, tiny_blocks

from pipeline.config.serialisation import to_plain
from pipeline.records.record import Record, fingerprint, identify, read_artifact, read_record, write_record
from pipeline.runtime.environment import environment
from stages.distillation.models.student import take_blocks
from stages.distillation.step import adamw
from stages.errors import InputError
from stages.storage import Folder, filesystem_of
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint, snapshot
from stages.training.checkpoints.checkpoint import TrainState
from stages.training.loader import read_rows


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, s3: ObjectStore, tmp_path: Path) -> Folder:
    """A folder that is not there yet, of this test's own."""
    return Folder(str(tmp_path / "new") if request.param == "disk" else f"{s3.address}/{tmp_path.name}")


def test_folder_bytes_written_are_read_back_and_listed(folder: Folder) -> None:
    assert not folder.exists()
    assert folder.names() == []
    folder.write_bytes("b.json", b"first")
    folder.write_bytes("b.json", b"second")
    (folder / "a").write_bytes("deep.bin", bytes(range(256)))
    assert folder.read_bytes("b.json") == b"second"
    assert (folder / "a").read_bytes("deep.bin") == bytes(range(256))
    assert folder.names() == ["a", "b.json"]
    assert folder.exists("b.json")
    assert folder.exists("a")
    assert not folder.exists("c")
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("c")


def test_folder_remove_deletes_all_below_it_and_nothing_beside_it(folder: Folder) -> None:
    for name in ("gone", "gone-not"):
        (folder / name).write_bytes("file", b"x")
        (folder / name / "sub").write_bytes("file", b"y")
    (folder / "gone").remove()
    (folder / "gone").remove()
    assert folder.names() == ["gone-not"]
    assert (folder / "gone-not" / "sub").read_bytes("file") == b"y"


def test_folder_written_locally_lands_whole_and_as_local_gives_it_back(folder: Folder) -> None:
    with folder.written_locally() as local:
        (local / "sub").mkdir()
        (local / "sub" / "x").write_bytes(b"1")
        (local / "y").write_bytes(b"22")
    with folder.as_local() as local:
        found = {str(path.relative_to(local)): path.read_bytes() for path in local.rglob("*") if path.is_file()}
    assert found == {"sub/x": b"1", "y": b"22"}


def test_folder_written_locally_that_fails_half_way_leaves_nothing(folder: Folder) -> None:
    def write() -> None:
        with folder.written_locally() as local:
            (local / "x").write_bytes(b"1")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write()
    assert folder.names() == []


def test_check_writable_leaves_nothing_behind(folder: Folder) -> None:
    folder.check_writable()
    assert folder.names() == []


def test_check_writable_bucket_that_is_not_there_is_bad_input(s3: ObjectStore) -> None:
    with pytest.raises(InputError, match=r"s3://nobody-made-this/runs cannot be written: .*nobody-made-this"):
        Folder("s3://nobody-made-this/runs").check_writable()


def test_blocks_in_an_object_store_are_the_rows_that_were_written(s3: ObjectStore, tmp_path: Path) -> None:
    local = tiny_blocks(tmp_path / "blocks")
    remote = replace(local, folder=Folder(f"{s3.address}/{tmp_path.name}/blocks"))
    filesystem, path = filesystem_of(remote.folder.uri)
    pafs.copy_files(str(tmp_path / "blocks"), path, destination_filesystem=filesystem)
    rows = np.array([70, 0, 23, 62, 22, 5])
    np.testing.assert_array_equal(
        read_rows(remote.folder, remote.shards, rows).ids_RL, all_rows(local, local.shards)[rows]
    )
    np.testing.assert_array_equal(remote.counts(), local.counts())


def test_checkpoint_exists_once_its_manifest_does_and_comes_back_bit_for_bit(folder: Folder, tmp_path: Path) -> None:
    tiny_tokenizer(WORDS).save_pretrained(tmp_path / "tokenizer")
    model = take_blocks(tiny_bert(), (0, 1))
    optimizer = adamw(model, learning_rate=1e-2, weight_decay=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    saved = checkpoint.save(
        folder, TrainState(step=7), model, snapshot.copied(model, optimizer), Folder(str(tmp_path / "tokenizer"))
    )
    assert checkpoint.newest(folder) == saved

    other = take_blocks(tiny_bert(seed=1), (0, 1))
    with checkpoint.newest_here(folder) as found:
        assert found.local is not None
        snapshot.read(found.local, other, adamw(other, learning_rate=1e-2, weight_decay=0.0))
    assert found.state.step == 7
    assert found.local.exists() == folder.is_local
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(other.parameters(), model.parameters(), strict=True))

    manifest = saved.read_bytes(checkpoint.MANIFEST)
    half = folder / "step-00000009"  # its writer died: some files are there, no manifest
    half.write_bytes("model.safetensors", saved.read_bytes("model.safetensors"))
    assert checkpoint.newest(folder) == saved
    half.write_bytes(checkpoint.MANIFEST, manifest)  # names files that are not there
    assert checkpoint.newest(folder) == saved
    saved.write_bytes("model.safetensors", saved.read_bytes("model.safetensors")[:-1] + b"?")
    assert checkpoint.newest(folder) is None


def test_record_is_read_back_with_folders_that_follow_it(folder: Folder, tmp_path: Path) -> None:
    home = folder / "tokens" / "0123456789abcdef"
    blocks = replace(tiny_blocks(tmp_path / "made"), folder=home)
    identity = identify("tokens", 1, {"block_length": 16})
    record = Record(
        fingerprint=fingerprint(identity),
        identity=identity,
        artifact=to_plain(blocks, base=home),
        seconds=1.0,
        finished="2026-01-01T00:00:00+00:00",
        environment=environment(),
    )
    assert read_record(home) is None
    write_record(home, record)
    found = read_record(home)
    assert found is not None
    assert read_artifact(Blocks, found, home) == blocks
    assert folder.uri not in json.dumps(found.artifact)
    assert SECRET not in (home.read_bytes("record.json")).decode()
