"""Text becomes the ids that the teacher's tokenizer gives it, whatever was saved with it and whatever the text says."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from published import as_bert, tiny_tokenizer
from small_corpus import write
from tiny import WORDS
from tokenizers import AddedToken, Tokenizer

from stages.storage import Folder
from stages.teacher.source import DEMO
from stages.tokens.config import TokensConfig
from stages.tokens.loading import load_tokenizer
from stages.tokens.packing.shard import Packed, pack_shard
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.vocabulary import vocabulary_of

NAMES = ("cls", "sep", "mask", "unk", "pad")
TOKENIZER = tiny_tokenizer((*WORDS, "[", "]", *NAMES)).backend_tokenizer.to_str()
VOCABULARY = vocabulary_of(as_bert(TOKENIZER))
LITERAL = "w1 [MASK] w2 [SEP] w3 [CLS] [PAD] w4[UNK]"
IN_WORDS = "w1 [ mask ] w2 [ sep ] w3 [ cls ] [ pad ] w4 [ unk ]".split()


def pack_texts(folder: Path, texts: list[str], tokenizer_json: str) -> tuple[Packed, np.ndarray]:
    """What one shard becomes, and its blocks of 12 tokens."""
    write(folder / "in" / "train" / "a.parquet", texts)
    source, target = Folder(str(folder / "in")), Folder(str(folder / "out"))
    config = TokensConfig(block_length=12, packing="stream")
    packed = pack_shard(
        config, source, "train/a.parquet", tokenizer_json, vocabulary_of(as_bert(tokenizer_json)), target
    )
    return packed, np.array(pq.read_table(folder / "out" / "train" / "a.parquet").column("ids").to_pylist())


def with_lengths(tokenizer_json: str) -> str:
    """As transformers saves it after `tokenizer(texts, padding="max_length", truncation=True, max_length=8)`."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=8)
    tokenizer.enable_truncation(8)
    return tokenizer.to_str()


def test_pack_shard_by_a_tokenizer_saved_with_padding_has_no_pad_and_loses_no_text(tmp_path: Path) -> None:
    texts = [" ".join(WORDS[i : i + 1 + i % 20]) for i in range(20)]
    plain, expected = pack_texts(tmp_path / "plain", texts, TOKENIZER)
    found, blocks = pack_texts(tmp_path / "padded", texts, with_lengths(TOKENIZER))
    assert 0 not in blocks
    np.testing.assert_array_equal(blocks, expected)
    assert found.digest == plain.digest


def test_pack_shard_literal_mask_and_sep_in_a_text_are_words_and_no_special_ids(tmp_path: Path) -> None:
    _, blocks = pack_texts(tmp_path, [LITERAL] * 20, TOKENIZER)
    ids = Tokenizer.from_str(TOKENIZER).get_vocab()
    line = ([ids[word] for word in IN_WORDS] + [ids["[SEP]"]]) * 20
    np.testing.assert_array_equal(blocks[:, 1:-1].ravel(), line[: blocks[:, 1:-1].size])
    assert len(blocks) == len(line) // 10


@pytest.mark.parametrize("before", ["WhitespaceSplit", None])
def test_text_tokenizer_literal_mask_is_no_special_id_where_words_end_at_spaces_alone(before: str | None) -> None:
    """Such a tokenizer leaves `[MASK]` whole, and finds it in its vocabulary as it would any other word."""
    said = json.loads(TOKENIZER)
    said |= {"normalizer": None, "pre_tokenizer": before and {"type": before}}
    special = {Tokenizer.from_str(TOKENIZER).token_to_id(name) for name in ("[MASK]", "[SEP]", "[CLS]", "[PAD]")}
    found = text_tokenizer(json.dumps(said), VOCABULARY)
    for text in ("[MASK]", "[SEP]", LITERAL):
        assert not special & set(found.encode(text, add_special_tokens=False).ids)
    plain = Tokenizer.from_str(json.dumps(said))
    for text in ("w1 w2 [ mask ] w3", "w1", "[mask]", "w1[w2]"):
        assert found.encode(text, add_special_tokens=False).ids == plain.encode(text, add_special_tokens=False).ids


def test_text_tokenizer_tokens_that_the_teacher_added_are_still_found() -> None:
    tokenizer = Tokenizer.from_str(TOKENIZER)
    tokenizer.add_special_tokens([AddedToken("[URL]", special=True)])
    found = text_tokenizer(tokenizer.to_str(), VOCABULARY).encode("w1 [URL] w2", add_special_tokens=False)
    assert found.tokens == ["w1", "[URL]", "w2"]


def test_text_tokenizer_ordinary_text_keeps_the_ids_it_had() -> None:
    demo = (DEMO / "tokenizer.json").read_text()
    texts = (Path(__file__).parents[3] / "README.md").read_text().splitlines()
    texts = [text for text in texts if not any(f"[{name.upper()}]" in text for name in NAMES)]
    texts += ["[mask] [ SEP ] (see [1]) MASK", "Ünïcode, ‘quotes’ 你好 ￼ x²", "a" * 300]
    before, now = Tokenizer.from_str(demo), text_tokenizer(demo, vocabulary_of(load_tokenizer(DEMO)))
    assert len(texts) > 100
    for text in texts:
        assert now.encode(text, add_special_tokens=False).ids == before.encode(text, add_special_tokens=False).ids
