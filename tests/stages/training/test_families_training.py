"""Trainings of students that are no DistilBERTs, stopped and continued to the very bits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_corpus import Source, write
from tiny import LENGTH, WORDS
from tiny_families import model_for, tokenizer_for
from trainings import CONFIG, Run, assert_bit_identical, here

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.distillation.families.table import family_of
from stages.distillation.losses.weights import LossWeights
from stages.distillation.models.student import take_blocks
from stages.storage import Folder
from stages.tokens.config import TokensConfig
from stages.tokens.stage import pack
from stages.training.driver import train
from stages.training.job import TrainingTask


def prepared(name: str, folder: Path, *, tied: bool) -> tuple[TrainingTask, Corpus, Source]:
    """Teacher and student of a family, and texts of 2 to 12 words."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(WORDS), 240)
    texts = [" ".join(WORDS[(start + i) % len(WORDS)] for i in range(rng.integers(2, 13))) for start in starts]
    for shard, part in (("train/0.parquet", texts[:200]), ("heldout/0.parquet", texts[200:])):
        write(folder / "corpus" / shard, part)
    corpus = Corpus(
        folder=Folder(str(folder / "corpus")), documents=0, heldout_documents=0, characters=0, heldout_characters=0,
        digest="", shards=("train/0.parquet",), heldout_shards=("heldout/0.parquet",),
    )  # fmt: skip
    tokenizer = tokenizer_for(name, texts)
    teacher = model_for(name, tokenizer, tie_word_embeddings=tied)
    student = take_blocks(teacher, family_of(teacher.config).choose(2, teacher.config), dropout=0.1)
    for part, model in (("teacher", teacher), ("start", student)):
        model.save_pretrained(folder / part)
        tokenizer.save_pretrained(folder / part)
    teacher_at, start = (Folder(str(folder / part)) for part in ("teacher", "start"))
    source = Source(teacher_at, family_of(teacher.config).objective.name)
    return TrainingTask(start=start, teacher=teacher_at, weights=LossWeights()), corpus, source


@pytest.mark.parametrize(
    ("name", "packing", "tied"),
    [
        ("gpt2", "documents", True),
        pytest.param("gpt2", "stream", True, marks=pytest.mark.slow),
        pytest.param("modernbert", "documents", True, marks=pytest.mark.slow),
        pytest.param("roberta", "documents", False, marks=pytest.mark.slow),
    ],
)
def test_train_learns_and_continues_bit_for_bit(
    name: str, packing: str, tied: bool, ray_session: None, tmp_path: Path
) -> None:
    task, corpus, source = prepared(name, tmp_path, tied=tied)
    config = TokensConfig(block_length=LENGTH, packing=packing)  # type: ignore[arg-type]
    blocks = pack(config, corpus, source, StageContext(folder=Folder(str(tmp_path / "blocks")), seed=0))
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    trained = train(CONFIG, task, blocks, whole.context(), fit=here)
    losses = [metrics["loss"] for _, metrics in whole.metrics]
    assert losses[-1] < losses[0]
    first = sorted(path.name for path in (whole.folder / "checkpoints").iterdir())[0]
    shutil.copytree(whole.folder / "checkpoints" / first, tmp_path / "stopped" / "checkpoints" / first)
    train(CONFIG, task, blocks, stopped.context(), fit=here)
    assert_bit_identical(stopped, whole, trained.steps)
