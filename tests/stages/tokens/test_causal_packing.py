"""A causal model's text in blocks: nothing around a document but the token that ends it."""

from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_corpus import write
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from stages.distillation.data.next_token import NextToken, prepared
from stages.distillation.data.rows import Rows
from stages.errors import InputError
from stages.storage import Folder
from stages.tokens.config import TokensConfig
from stages.tokens.packing.shard import pack_shard
from stages.tokens.vocabulary import vocabulary_of

WORDS = {word: number for number, word in enumerate(["<end>", "<begin>", *(f"w{i}" for i in range(30))])}
END, BEGIN, LENGTH = WORDS["<end>"], WORDS["<begin>"], 8
RNG = np.random.default_rng(0)
DOCUMENTS = [[int(i) for i in RNG.integers(2, len(WORDS), RNG.integers(1, 20))] for _ in range(60)]
TEXTS = [" ".join(f"w{i - 2}" for i in ids) for ids in DOCUMENTS]


def tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel(WORDS))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if template:
        made.post_processor = TemplateProcessing(
            single=template, special_tokens=[(word, WORDS[word]) for word in ("<begin>", "<end>")]
        )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<begin>", eos_token="<end>")


def packed(folder: Path, packing: str, template: str | None = None, texts: list[str] = TEXTS) -> Rows:
    write(folder / "in" / "a.parquet", texts)
    source, target = Folder(str(folder / "in")), Folder(str(folder / "out"))
    config = TokensConfig(block_length=LENGTH, packing=packing)  # type: ignore[arg-type]
    words = tokenizer(template)
    vocabulary = vocabulary_of(words, causal=True)
    found = pack_shard(config, source, "a.parquet", words.backend_tokenizer.to_str(), vocabulary, target)
    assert found.refused == 0
    table = pq.read_table(folder / "out" / "a.parquet")
    columns = {name: np.array(table.column(name).to_pylist()) for name in table.column_names}
    return Rows(columns["ids"].astype(np.int32), columns.get("segments"))


def test_stream_is_every_document_and_its_end_in_one_line(tmp_path: Path) -> None:
    line = list(chain.from_iterable([*ids, END] for ids in DOCUMENTS))
    blocks = packed(tmp_path, "stream")
    assert blocks.ids_RL.ravel().tolist() == line[: len(line) // LENGTH * LENGTH]
    assert blocks.segments_RL is None


@pytest.mark.parametrize("template", [None, "<begin> $A <end>", "<begin> $A"])
def test_documents_end_with_their_end_alone_however_they_are_cut(template: str | None, tmp_path: Path) -> None:
    """A start that the tokenizer puts before a text is before every piece, as the model has seen no other. An end is
    never alone: cut between words, the last of them goes with it."""
    start = [BEGIN] if template else []
    expected = []
    for ids in DOCUMENTS:
        whole, inner, begin = [*ids, END], LENGTH - len(start), 0
        while begin < len(whole):
            end = begin + inner - (begin + inner == len(whole) - 1)
            expected.append([*start, *whole[begin:end]])
            begin = end
    blocks = packed(tmp_path, "documents", template)
    assert blocks.segments_RL is not None
    found = []
    for ids, numbers in zip(blocks.ids_RL, blocks.segments_RL, strict=True):
        found += [ids[numbers == number].tolist() for number in range(1, numbers.max() + 1)]
    assert sorted(found) == sorted(expected)


def test_labels_are_the_next_token_of_the_same_piece(tmp_path: Path) -> None:
    blocks = packed(tmp_path, "documents")
    assert blocks.segments_RL is not None
    rule = NextToken(LENGTH)
    found = prepared(blocks, np.arange(len(blocks)), epoch=0, seed=0, rule=rule)
    assert found.labels_RM.shape == (len(blocks), rule.masked(3))
    for row, (ids, numbers) in enumerate(zip(blocks.ids_RL, blocks.segments_RL, strict=True)):
        for position, label in zip(found.positions_RM[row], found.labels_RM[row], strict=True):
            same = numbers[position] == numbers[position + 1] != 0
            assert label == (ids[position + 1] if same else -100)
    np.testing.assert_array_equal(found.input_ids_RL, blocks.ids_RL)


def test_a_word_that_a_tokenizer_without_an_unknown_one_lacks_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read a document of a\.parquet \(.*UNK"):
        packed(tmp_path, "documents", texts=["w1 other w2"])
