"""A training on blocks of several documents: streamed with their borders, stopped and continued to the very bits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from published import tiny_tokenizer
from small_corpus import corpus_of
from tiny import LENGTH, WORDS, tiny_rule
from trainings import CONFIG, Run, assert_bit_identical, here

from stages.context import StageContext
from stages.distillation.data.data_order import Plan
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.tokens.config import TokensConfig
from stages.tokens.stage import pack
from stages.training.driver import train
from stages.training.job import TrainingTask
from stages.training.loader import read_rows, share_of, stream


@pytest.fixture(scope="module")
def documents(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Blocks:
    """Some eighty blocks, most of them of two or three texts of 2 to 12 words."""
    folder, rng = tmp_path_factory.mktemp("documents"), np.random.default_rng(0)
    starts = rng.integers(0, len(WORDS), 240)
    texts = [" ".join(WORDS[(start + i) % len(WORDS)] for i in range(rng.integers(2, 13))) for start in starts]
    tokenizer = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
    corpus, source = corpus_of(folder, {"train/0.parquet": texts[:200], "heldout/0.parquet": texts[200:]}, tokenizer)
    context = StageContext(folder=Folder(str(folder / "blocks")), seed=0)
    return pack(TokensConfig(block_length=LENGTH), corpus, source, context)


def test_stream_under_ray_brings_each_row_with_its_borders(documents: Blocks) -> None:
    plan = Plan(shard_rows=tuple(s.rows for s in documents.shards), global_batch=12, steps=8, seed=3)
    share = share_of(documents, plan, tiny_rule(), seed=1, worker=1, workers=2, first_step=2)
    found = list(stream(share))
    assert len(found) == 6
    for rows, masked in found:
        stored = read_rows(documents.folder, documents.shards, rows)
        np.testing.assert_array_equal(masked.segments_RL, stored.segments_RL)
        assert masked.segments_RL is not None
        assert (np.take_along_axis(masked.segments_RL, masked.positions_RM, axis=1) > 0).all()


def test_train_on_documents_learns_and_continues_bit_for_bit(
    documents: Blocks, task: TrainingTask, tmp_path: Path
) -> None:
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    trained = train(CONFIG, task, documents, whole.context(), fit=here)
    losses = [metrics["loss"] for _, metrics in whole.metrics]
    assert losses[-1] < losses[0]
    assert trained.steps == CONFIG.steps
    name = sorted(path.name for path in (whole.folder / "checkpoints").iterdir())[0]
    assert int(name.removeprefix("step-")) < CONFIG.total_steps(documents.rows)
    shutil.copytree(whole.folder / "checkpoints" / name, tmp_path / "stopped" / "checkpoints" / name)
    train(CONFIG, task, documents, stopped.context(), fit=here)
    assert_bit_identical(stopped, whole, trained.steps)
