"""Weight files as they come: in any format, or as something else, which is named in one sentence."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from saved_teacher import POINTER, pickled, saved
from tiny import tiny_bert

from pipeline.cli.main import main
from stages.errors import InputError
from stages.hub import HubName
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.preflight import check
from stages.teacher.fitness.weight_files import shapes_in, shapes_on_hub
from stages.teacher.hub_cache import located

MODEL, PICKLE, INDEX = "model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"


def expected() -> dict[str, tuple[int, ...]]:
    model = tiny_bert()
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    return {name: tuple(t.shape) for name, t in model.state_dict().items() if name not in tied}


@pytest.mark.parametrize("form", ["safetensors", "shards", "pickled", "legacy", "pickled shards"])
def test_shapes_are_those_of_the_model_in_every_format(form: str, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    if form == "shards":
        tiny_bert().save_pretrained(folder, max_shard_size="8KB")
        (folder / MODEL).unlink(missing_ok=True)
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    elif form != "safetensors":
        pickled(folder, 3 if form == "pickled shards" else 1, legacy=form == "legacy")
    assert shapes_in(folder) == expected()


def cut(file: Path, share: float) -> None:
    os.truncate(file, int(file.stat().st_size * share))


def shard_of(folder: Path) -> Path:
    return pickled(folder, 3) / "pytorch_model-00002-of-00003.bin"


class Code:
    """What a pickle can hold beside tensors."""


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pointer of Git LFS": (lambda f: (f / MODEL).write_text(POINTER), rf"{MODEL} is a Git LFS pointer.*git lfs pull"),
    "a pickle's pointer": (lambda f: (pickled(f) / PICKLE).write_text(POINTER), f"{PICKLE} is a Git LFS pointer"),
    "a shard's pointer": (lambda f: shard_of(f).write_text(POINTER), "00002-of-00003.bin is a Git LFS pointer"),
    "an index's pointer": (lambda f: (pickled(f, 3) / INDEX).write_text(POINTER), "json is a Git LFS pointer"),
    "the tokenizer's pointer": (lambda f: (f / "tokenizer.json").write_text(POINTER), "tokenizer.json is a Git LFS"),
    "cut off": (lambda f: cut(f / MODEL, 0.9), f"{MODEL} is damaged, cut off"),
    "cut off in the header": (lambda f: cut(f / MODEL, 0.01), f"{MODEL} is damaged, cut off"),
    "empty": (lambda f: (f / MODEL).write_bytes(b""), f"{MODEL} is damaged, cut off"),
    "a web page": (lambda f: (f / MODEL).write_text("<!doctype html><html>Sign in"), f"{MODEL} is damaged"),
    "a pickle cut off": (lambda f: cut(pickled(f) / PICKLE, 0.9), f"{PICKLE} is damaged, cut off"),
    "an old pickle cut off": (lambda f: cut(pickled(f, legacy=True) / PICKLE, 0.02), f"{PICKLE} is damaged, cut off"),
    "an empty pickle": (lambda f: (pickled(f) / PICKLE).write_bytes(b""), f"{PICKLE} is damaged, cut off"),
    "a pickle of code": (
        lambda f: (pickled(f) / PICKLE).write_bytes(pickle.dumps(Code())),
        f"{PICKLE} is damaged, cut off, or holds something else than weights",
    ),
    "a pickled list": (lambda f: torch.save([torch.ones(2)], pickled(f) / PICKLE), "holds a list and no weights"),
    "a shard that is not there": (lambda f: shard_of(f).unlink(), "json names pytorch_model-00002-of-00003.bin, which"),
    "a shard cut off": (lambda f: cut(shard_of(f), 0.5), "00002-of-00003.bin is damaged, cut off"),
    "an index cut off": (lambda f: cut(pickled(f, 3) / INDEX, 0.5), "json is damaged or no index"),
    "an index of something else": (lambda f: (pickled(f, 3) / INDEX).write_text("[]"), "json is damaged or no index"),
    "a tokenizer cut off": (lambda f: cut(f / "tokenizer.json", 0.5), "tokenizer.json is damaged, cut off"),
    "a tokenizer of nothing": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json is damaged, cut off"),
    "a config cut off": (lambda f: cut(f / "config.json", 0.5), "cannot be read as a transformers model"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_file_that_cannot_be_read_is_named_as_what_it_is(case: str, tmp_path: Path) -> None:
    spoil, words = SPOILT[case]
    spoil(saved(tmp_path))
    with pytest.raises(InputError, match=words) as refused:
        check(TeacherConfig(model=str(tmp_path)))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("legacy", [False, True])
def test_pickle_cut_off_anywhere_is_bad_input(legacy: bool, tmp_path: Path) -> None:
    file = pickled(saved(tmp_path), legacy=legacy) / PICKLE
    whole = file.read_bytes()
    read = [size for size in range(0, len(whole), len(whole) // 40) if shapes_or_none(file, whole[:size]) is not None]
    assert read == []
    assert shapes_or_none(file, whole) == expected()


def shapes_or_none(file: Path, content: bytes) -> dict[str, tuple[int, ...]] | None:
    """Of a file with this content; None where it is refused by its name."""
    file.write_bytes(content)
    try:
        found = shapes_in(file.parent)
    except InputError as error:
        return None if file.name in str(error) else {}
    return found


def test_command_ends_with_status_2_and_one_sentence_for_a_file_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(saved(tmp_path / "teacher") / MODEL, 0.9)
    (tmp_path / "text.txt").write_text("w1 w2\n" * 99)
    words = ["run", "demo", "--workdir", str(tmp_path / "work"), "--teacher.model", str(tmp_path / "teacher")]
    words += ["--corpus.source", "files", "--corpus.paths", str(tmp_path / "text.txt")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert f"{MODEL} is damaged, cut off" in " ".join((said.out + said.err).split())
    assert "Traceback" not in said.out + said.err


def test_weights_on_a_hub_that_does_not_answer_are_left_to_fetch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert shapes_on_hub("some/model", "main") is None


def test_weights_of_a_hub_s_model_in_the_cache_are_looked_at_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "a" * 40
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    saved(tmp_path / "models--some--model" / "snapshots" / commit)
    folder = located(HubName(kind="model", name="some/model", revision=commit))
    assert folder is not None
    assert shapes_in(folder) == expected()
