"""Pre-training: what a fresh and a stacked model start from, and the vocabulary."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.errors import ConfigError
from stages.storage import Folder
from stages.teacher.pretrain import AMPLITUDE, fresh, learn_vocabulary, sinusoids, stack
from stages.teacher.pretrain_config import PhaseConfig, VocabularyConfig
from stages.training.config import TrainConfig


def phase(layers: int) -> PhaseConfig:
    return PhaseConfig(
        layers=layers, block_length=8, width=16, heads=2, positions=8, train=TrainConfig(steps=1, dropout=0.0)
    )


def test_sinusoids_are_those_of_the_transformer_paper() -> None:
    table = sinusoids(6, 8)
    for position in range(6):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            assert table[position, 2 * pair].item() == pytest.approx(AMPLITUDE * math.sin(angle), abs=1e-7)
            assert table[position, 2 * pair + 1].item() == pytest.approx(AMPLITUDE * math.cos(angle), abs=1e-7)


def test_stack_two_blocks_into_four_repeats_them_in_order() -> None:
    torch.manual_seed(0)
    shallow, deep = fresh(phase(2), 30), fresh(phase(4), 30)
    stack(shallow, deep)
    ids = torch.arange(8).unsqueeze(0)
    hidden = shallow.bert.embeddings(input_ids=ids)
    for index in (0, 1, 0, 1):
        hidden = shallow.bert.encoder.layer[index](hidden)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    with torch.no_grad():
        torch.testing.assert_close(deep.eval()(input_ids=ids).logits, shallow.cls(hidden))


def test_phase_block_longer_than_positions_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most the model's 8 positions"):
        PhaseConfig(layers=1, block_length=9, positions=8, train=TrainConfig(steps=1))


def test_learn_vocabulary_reads_training_documents_alone_and_loads_in_transformers(tmp_path: Path) -> None:
    for name, text in (("train/a.parquet", "alpha beta gamma " * 30), ("heldout/a.parquet", "zzyzx " * 99)):
        (tmp_path / name).parent.mkdir()
        pq.write_table(pa.table({"id": ["0"], "text": [text]}), tmp_path / name)
    corpus = Corpus(
        folder=Folder(str(tmp_path)), documents=1, heldout_documents=1, characters=1, heldout_characters=1,
        digest="", shards=("train/a.parquet",), heldout_shards=("heldout/a.parquet",),
    )  # fmt: skip
    context = StageContext(folder=Folder(str(tmp_path / "out")), seed=0)
    made = learn_vocabulary(VocabularyConfig(size=60, positions=8), corpus, context)
    words = AutoTokenizer.from_pretrained(made.folder.path)
    assert words.tokenize("Alpha BETA gamma") == ["alpha", "beta", "gamma"]
    assert words.tokenize("zzyzx") == ["[UNK]"]
    assert words("alpha [MASK]")["input_ids"][0] == words.cls_token_id
    assert words.model_max_length == 8
    assert len(words) == made.size
