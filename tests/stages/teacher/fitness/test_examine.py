"""What a batch of held-out text tells of a teacher before anything is learned from it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from published import tiny_tokenizer
from tiny import LENGTH, WORDS, all_rows, tiny_bert
from tiny_pipeline import taught
from transformers import BertForMaskedLM

from stages.context import StageContext
from stages.distil.config import DistilConfig
from stages.distil.stage import untouched
from stages.errors import InputError
from stages.storage import Folder
from stages.teacher.artifact import Teacher
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.examine import TAG, entropy, examine
from stages.teacher.stage import adapt, described
from stages.tokens.blocks import Blocks


@torch.no_grad()
def overflowing() -> BertForMaskedLM:
    model = tiny_bert()
    model.bert.encoder.layer[1].output.dense.weight[3, 5] = float("inf")
    return model


def stored(model: BertForMaskedLM, folder: Path) -> Teacher:
    model.save_pretrained(folder)
    tiny_tokenizer(WORDS).save_pretrained(folder)
    return described(Folder(str(folder)), model, "tiny")


def test_entropy_is_that_of_the_tokens_that_can_be_masked(blocks: Blocks) -> None:
    ids = all_rows(blocks, blocks.shards).ravel()
    _, counts = np.unique(ids[ids >= 5], return_counts=True)
    p = counts / counts.sum()
    assert entropy(blocks.counts(), (0, 1, 2, 3, 4)) == pytest.approx(-sum(p * np.log(p)), abs=1e-12)


def test_teacher_that_knows_no_more_than_chance_is_said_to_with_both_figures(blocks: Blocks) -> None:
    said = examine(tiny_bert(), "tiny", blocks)
    assert said is not None
    assert f"guessing by frequency has {entropy(blocks.counts(), (0, 1, 2, 3, 4)):.2f}" in said
    with torch.no_grad():
        ids = torch.from_numpy(all_rows(blocks, blocks.heldout)).long()
        hidden = torch.zeros_like(ids, dtype=torch.bool)
        hidden[:, 1 : LENGTH - 1 : 5] = True
        loss = tiny_bert()(input_ids=ids.masked_fill(hidden, 4), labels=ids.masked_fill(~hidden, -100)).loss
    told = float(said.split("loss is ")[1].split(" ")[0])
    assert told == pytest.approx(float(loss), abs=1.0)  # other positions of the same text
    assert told > 3.7


def test_teacher_that_has_learned_something_is_taken_without_a_word(blocks: Blocks) -> None:
    assert examine(taught(tiny_bert(scale=0.05), steps=150).eval(), "tiny", blocks) is None


def test_logits_that_are_not_finite_are_refused(blocks: Blocks, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the teacher \(tiny\) gives logits that are not finite"):
        examine(overflowing(), "tiny", blocks)
    context = StageContext(folder=Folder(str(tmp_path / "adapt")), seed=0)
    with pytest.raises(InputError, match="not finite"):
        adapt(TeacherConfig(adapt_steps=3), stored(overflowing(), tmp_path / "teacher"), blocks, context)


def test_distilling_from_a_teacher_that_guesses_is_said_and_tagged_once(blocks: Blocks, tmp_path: Path) -> None:
    told: list[str] = []
    tags: dict[str, str] = {}
    context = StageContext(
        folder=Folder(str(tmp_path / "distil")), seed=0, on_notice=told.append, on_tag=tags.__setitem__
    )
    teacher = stored(tiny_bert(), tmp_path / "teacher")
    untouched(DistilConfig(steps=1, layers=(0,)), teacher, blocks, context)
    assert len(told) == 1
    assert tags == {TAG: told[0]}
    (tmp_path / "distil" / "checkpoints").mkdir()  # a training that goes on has heard it
    untouched(DistilConfig(steps=1, layers=(0,)), teacher, blocks, context)
    assert len(told) == 1
