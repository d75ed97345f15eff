"""Checkpoints: bit for bit what was saved, or not there."""

import copy
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published import tiny_tokenizer
from tiny import WORDS, no_dropout, tiny_batch, tiny_bert
from torch import nn
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel

from stages.distillation.models.student import take_blocks
from stages.distillation.step import adamw
from stages.storage import Folder
from stages.training.checkpoints.checkpoint import (
    MANIFEST,
    TrainState,
    is_whole,
    keep_only,
    look,
    newest,
    newest_here,
    read_state,
    save,
)
from stages.training.checkpoints.snapshot import copied, read


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(WORDS).save_pretrained(folder)
    return Folder(str(folder))


def learner(kind: str, seed: int = 0) -> PreTrainedModel:
    tied = not kind.startswith("untied")
    bert = tiny_bert(layers=2, seed=seed, tie_word_embeddings=tied)
    return no_dropout(bert if kind.endswith("bert") else take_blocks(bert, (0, 1)))  # type: ignore[return-value]


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Some steps whose gradients reach every parameter, the embeddings and the head among them."""
    for step in steps:
        batch = tiny_batch(seed=step)
        labels = torch.full_like(batch.input_ids_RL, -100).scatter(1, batch.positions_RM, batch.labels_RM)
        model(batch.input_ids_RL, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return adamw(model, learning_rate=1e-2, weight_decay=0.01)


def saved_at(folder: Folder, tokenizer: Folder, *steps: int) -> None:
    model = learner("student")
    optimizer = optimizer_of(model)
    learn(model, optimizer, range(1))
    for step in steps:
        save(folder, TrainState(step=step), model, copied(model, optimizer), tokenizer)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("kind", ["student", "bert", "untied student", "untied bert"])
def test_what_was_saved_comes_back_with_every_weight_and_moment_and_goes_on_identically(
    kind: str, tmp_path: Path, tokenizer: Folder
) -> None:
    model = learner(kind)
    optimizer = optimizer_of(model)
    learn(model, optimizer, range(3))
    state = TrainState(step=3, seconds=1.25, best_loss=0.1 + 0.2, best_step=2, history=({"step": 1, "loss": 1 / 3},))
    save(Folder(str(tmp_path)), state, model, copied(model, optimizer), tokenizer)
    fresh = learner(kind, seed=9)
    again = optimizer_of(fresh)
    with newest_here(Folder(str(tmp_path))) as found:
        assert found.local is not None
        read(found.local, fresh, again)
        assert (found.state, found.broken) == (state, ())
    for mine, theirs in zip(fresh.state_dict().items(), model.state_dict().items(), strict=True):
        assert mine[0] == theirs[0]
        assert torch.equal(mine[1], theirs[1])
    _assert_same_state(again, optimizer)
    learn(model, optimizer, range(3, 6))
    learn(fresh, again, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), model.parameters(), strict=True))


def _assert_same_state(found: torch.optim.Optimizer, expected: torch.optim.Optimizer) -> None:
    mine, theirs = (copy.deepcopy(o.state_dict()) for o in (found, expected))
    assert mine["param_groups"] == theirs["param_groups"]
    assert mine["state"].keys() == theirs["state"].keys()
    for index, entry in theirs["state"].items():
        assert entry.keys() == mine["state"][index].keys()
        assert all(torch.equal(tensor, mine["state"][index][name]) for name, tensor in entry.items())


def test_save_folder_is_what_transformers_loads_tokenizer_and_all(tmp_path: Path, tokenizer: Folder) -> None:
    model = learner("student")
    where = save(Folder(str(tmp_path)), TrainState(step=7), model, copied(model, optimizer_of(model)), tokenizer)
    assert where.name == "step-00000007"
    ids = tiny_batch().input_ids_RL
    with torch.no_grad():
        expected = model.eval()(ids).logits
        assert torch.equal(AutoModelForMaskedLM.from_pretrained(where.path)(ids).logits, expected)
    assert AutoTokenizer.from_pretrained(where.path)("w3 w1").input_ids == [2, 8, 6, 3]


def test_read_state_before_any_evaluation_has_an_infinite_best_loss(tmp_path: Path, tokenizer: Folder) -> None:
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 1)
    assert read_state(folder / "step-00000001") == TrainState(step=1)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", MANIFEST])
def test_newest_one_cut_short_is_passed_over_for_the_one_before(file: str, tmp_path: Path, tokenizer: Folder) -> None:
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 5, 10, 100)
    assert newest(folder) == folder / "step-00000100"
    cut(tmp_path / "step-00000100" / file)
    assert newest(folder) == folder / "step-00000010"


def test_newest_same_size_other_content_missing_file_or_no_manifest_is_passed_over(
    tmp_path: Path, tokenizer: Folder
) -> None:
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 1, 2, 3, 4)
    (tmp_path / "step-00000004" / MANIFEST).unlink()
    (tmp_path / "step-00000003" / "optimizer.safetensors").unlink()
    weights = tmp_path / "step-00000002" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert [is_whole(folder / f"step-0000000{i}") for i in (1, 2, 3, 4)] == [True, False, False, False]
    assert newest(folder) == folder / "step-00000001"


def test_newest_of_nothing_is_none(tmp_path: Path) -> None:
    assert newest(Folder(str(tmp_path / "never"))) is None


def test_keep_only_leaves_the_newest_few_and_the_best(tmp_path: Path, tokenizer: Folder) -> None:
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 1, 2, 3, 4, 5)
    keep_only(folder, 2, best_step=2)
    assert folder.names() == [f"step-0000000{i}" for i in (2, 4, 5)]
    keep_only(folder, 1, best_step=-1)
    assert folder.names() == ["step-00000005"]


def test_save_removes_broken_checkpoints_of_later_steps_so_that_they_push_out_no_whole_one(
    tmp_path: Path, tokenizer: Folder
) -> None:
    """A crash left step 10 half written; training went on from 5 and now stands at 8."""
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 5, 10)
    (tmp_path / "step-00000010" / MANIFEST).unlink()
    saved_at(folder, tokenizer, 8)
    keep_only(folder, 1, best_step=-1)
    assert newest(folder) == folder / "step-00000008"


def test_save_over_a_broken_one_of_the_same_step_makes_it_whole(tmp_path: Path, tokenizer: Folder) -> None:
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 5)
    cut(tmp_path / "step-00000005" / "optimizer.safetensors")
    assert newest(folder) is None
    saved_at(folder, tokenizer, 5)
    assert read_state(folder / "step-00000005") == replace(TrainState(step=5))
    assert newest(folder) == folder / "step-00000005"


FULL_DISK = """
import resource, sys
from test_checkpoint import Folder, TrainState, copied, learner, optimizer_of, save
folder, tokenizer = (Folder(path) for path in sys.argv[1:])
model = learner("student")
optimizer = optimizer_of(model)
save(folder, TrainState(step=5), model, copied(model, optimizer), tokenizer)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save(folder, TrainState(step=10), model, copied(model, optimizer), tokenizer)
except OSError as error:
    print("OSError", error)
"""


def test_save_without_room_raises_oserror_and_leaves_the_one_before_and_nothing_else(
    tmp_path: Path, tokenizer: Folder
) -> None:
    """No file may be longer than 10,000 bytes, in a process of its own: the kernel refuses the rest, as a disk does."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "checkpoints"), str(tokenizer)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    said = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("OSError")
    folder = Folder(str(tmp_path / "checkpoints"))
    assert folder.names() == ["step-00000005"]
    assert newest(folder) == folder / "step-00000005"


def test_look_says_what_is_wrong_with_each_newer_one(tmp_path: Path, tokenizer: Folder) -> None:
    folder = Folder(str(tmp_path))
    saved_at(folder, tokenizer, 1, 2, 3, 4, 5)
    (tmp_path / "step-00000005" / MANIFEST).unlink()
    cut(tmp_path / "step-00000004" / MANIFEST)
    (tmp_path / "step-00000003" / "state.json").unlink()
    cut(tmp_path / "step-00000002" / "model.safetensors")
    found = look(folder)
    assert found.newest == folder / "step-00000001"
    with newest_here(folder) as here:
        assert here.local == (folder / "step-00000001").path
        assert (here.state.step, here.broken) == (1, found.broken)
    assert [line.split(": ")[0] for line in found.broken] == [f"step-0000000{step}" for step in (5, 4, 3, 2)]
    for line, reason in zip(
        found.broken, ("has no manifest", "damaged", "state.json is missing", "model"), strict=True
    ):
        assert reason in line
