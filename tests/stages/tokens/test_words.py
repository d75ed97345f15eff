"""Where words begin, by every kind of tokenizer; and that the blocks of both packings keep it."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import SPECIAL, as_bert, tiny_tokenizer
from small_corpus import corpus_of, write
from tiny import WORDS
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from pipeline.config.preflight import preflight
from pipeline.config.schema import override
from pipeline.recipes import demo, demo_teacher
from stages.context import StageContext
from stages.distillation.data.masking import mask, mask_rule
from stages.distillation.mask_options import MaskUnit
from stages.errors import ConfigError
from stages.storage import Folder
from stages.tokens.blocks import Shard
from stages.tokens.config import TokensConfig
from stages.tokens.packing.shard import pack_shard
from stages.tokens.packing.words import Tokens, borders_of, check_words, is_chinese
from stages.tokens.stage import pack
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.usable_shards import fault
from stages.tokens.vocabulary import vocabulary_of
from stages.training.loader import read_rows

TEXT = "an unbelievable tokenization, they're unbelievable"
PARTS = ("un", "##believ", "##able", "token", "##ization", "an", "they", "'", "re", ",")
JIEBA = importlib.util.find_spec("jieba") is not None
TOKENIZER = tiny_tokenizer((*WORDS, *PARTS)).backend_tokenizer.to_str()
VOCABULARY = vocabulary_of(as_bert(TOKENIZER))
UN, BELIEV, ABLE = (len(SPECIAL) + len(WORDS) + i for i in range(3))


def marked(tokenizer: Tokenizer, text: str, language: str = "en") -> str:
    """The tokens of a text, a bar before each that begins a word."""
    borders = borders_of(TokensConfig(mask_unit="word"), tokenizer.to_str(), language)
    assert borders is not None
    encoded = text_tokenizer(tokenizer.to_str(), VOCABULARY).encode(text, add_special_tokens=False)
    begins = borders(text, encoded)
    return " ".join(f"|{t}" if b else t for t, b in zip(encoded.tokens, begins, strict=True))


def wordpiece(*words: str) -> Tokenizer:
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate((*SPECIAL, *words))}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    return made


def byte_level(*, use_regex: bool) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    merges = BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(SPECIAL),
        show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(["an unbelievable tokenization"] * 3, merges)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    return made


def test_words_of_wordpiece_are_what_stands_before_its_vocabulary() -> None:
    assert marked(wordpiece(*PARTS), TEXT) == (
        "|an |un ##believ ##able |token ##ization |, |they |' |re |un ##believ ##able"
    )
    assert marked(wordpiece(*PARTS), "unheard UN [MASK]") == "|[UNK] |un |[UNK] |[UNK] |[UNK]"


def test_words_of_wordlevel_are_its_tokens() -> None:
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate((*SPECIAL, "a", "tensor"))}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    assert marked(made, "a tensor a") == "|a |tensor |a"


@pytest.mark.parametrize("use_regex", [True, False])
def test_words_of_byte_level_bpe_begin_at_its_mark(use_regex: bool) -> None:
    """With GPT-2's expression punctuation is a word too; without, the mark of a space alone tells."""
    found = marked(byte_level(use_regex=use_regex), "an unbelievable zig, an")
    words = [part.replace(" ", "") for part in found.split("|")[1:]]
    comma = ["Ġzig", ","] if use_regex else ["Ġzig,"]
    assert words == ["an", "Ġunbelievable", *comma, "Ġan"]


@pytest.mark.parametrize("splits", [True, False])
def test_words_of_unigram_begin_at_its_mark(splits: bool) -> None:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    pieces = UnigramTrainer(vocab_size=40, special_tokens=list(SPECIAL), unk_token="[UNK]", show_progress=False)
    made.train_from_iterator(["an unbelievable tokenization of believers"] * 9, pieces)
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=splits)
    found = marked(made, "an unbelievable tokenization")
    assert [part.replace(" ", "") for part in found.split("|")[1:]] == ["▁an", "▁unbelievable", "▁tokenization"]


CHINESE = "我们在北京大学学习自然语言处理，PyTorch 是框架。"
CHARACTERS = wordpiece(*dict.fromkeys(c for c in CHINESE if ord(c) > 255), "py", "##tor", "##ch")


@pytest.mark.skipif(not JIEBA, reason="jieba is an extra")
def test_words_of_chinese_are_jiebas_while_the_model_works_on_characters() -> None:
    assert marked(CHARACTERS, CHINESE, "zh") == (
        "|我 们 |在 |北 京 大 学 |学 习 |自 然 语 言 |处 理 |， |py ##tor ##ch |是 |框 架 |。"
    )


def test_words_of_chinese_told_to_be_another_language_are_characters() -> None:
    assert marked(CHARACTERS, "我们在，PyTorch", "en") == "|我 |们 |在 |， |py ##tor ##ch"


@pytest.mark.skipif(JIEBA, reason="jieba is here")
def test_chinese_words_without_jieba_are_refused_before_anything_runs(tmp_path: Path) -> None:
    check_words(TokensConfig(), "zh")  # tokens need no words
    changes = [("workdir", str(tmp_path)), ("corpus.language", "zh")]
    by_words = override(demo(), [*changes, ("tokens.mask_unit", "word")])
    in_a_phase = override(demo_teacher(), [*changes, ("pretrain.phases.1.mask_unit", "span")])
    for config in (by_words, in_a_phase):
        with pytest.raises(ConfigError, match=r"tokens.mask_unit is '(word|span)' but needs jieba.*pip install"):
            preflight(config)


def test_every_way_to_say_chinese_is_chinese() -> None:
    assert [is_chinese(name) for name in ("zh", "zh-TW", "zh_Hans", "ZH", "en", "ja", "zha")] == [True] * 4 + [
        False
    ] * 3


def test_a_part_of_a_document_begins_with_a_word_and_special_tokens_are_words() -> None:
    tokens = Tokens([5, 6, 7, 8], [1, 0, 0, 1])
    assert tokens.between(1, 4) == Tokens([6, 7, 8], [1, 0, 1])
    assert tokens.between(1, 4).within([2], [3, 3]) == Tokens([2, 6, 7, 8, 3, 3], [1, 1, 0, 1, 1, 1])
    assert Tokens([5, 6]).within([2], [3]) == Tokens([2, 5, 6, 3])


LENGTH = 16


def some_texts(number: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    words = (*WORDS[:6], "unbelievable", "unable", "tokenization")
    return [" ".join(rng.choice(words, rng.integers(1, 14))) + "." for _ in range(number)]


def packed(folder: Path, packing: str, unit: MaskUnit, texts: list[str]) -> pa.Table:
    write(folder / "in" / "a.parquet", texts)
    config = TokensConfig(block_length=LENGTH, packing=packing, mask_unit=unit)  # type: ignore[arg-type]
    found = pack_shard(
        config, Folder(str(folder / "in")), "a.parquet", TOKENIZER, VOCABULARY, Folder(str(folder / unit))
    )
    table = pq.read_table(folder / unit / "a.parquet")
    assert found.rows == len(table)
    words = np.array(table["words"].to_pylist()) if unit != "token" else np.zeros((found.rows, LENGTH))
    assert found.words == (words * ~np.isin(np.array(table["ids"].to_pylist()), VOCABULARY.special_ids)).sum()
    return table.append_column("digest", [[found.digest] * len(table)])


@pytest.mark.parametrize("packing", ["documents", "stream"])
def test_blocks_keep_where_words_begin_and_are_else_those_without(tmp_path: Path, packing: str) -> None:
    """Every token of the text begins a word but for `##`; what a block's end cuts begins anew in the next."""
    texts = some_texts(300)
    plain, kept = packed(tmp_path, packing, "token", texts), packed(tmp_path, packing, "word", texts)
    assert "words" not in plain.column_names
    assert kept.drop_columns("words") == plain
    assert packed(tmp_path, packing, "span", texts) == kept
    ids, words = (np.array(kept[name].to_pylist()) for name in ("ids", "words"))
    goes_on = np.isin(ids, [VOCABULARY.unk_id, BELIEV, ABLE, len(SPECIAL) + len(WORDS) + 4])
    goes_on &= ids != VOCABULARY.unk_id
    first = np.isin(np.roll(ids, 1, axis=1), [VOCABULARY.cls_id])  # a piece or block that was cut within a word
    np.testing.assert_array_equal(words == 0, goes_on & ~first)
    assert (words == 0).mean() > 0.1
    assert (goes_on & first).any() or packing == "documents"


@pytest.mark.parametrize("packing", ["documents", "stream"])
def test_pack_by_words_under_ray_is_read_back_and_masked_by_words(
    ray_session: None, tmp_path: Path, packing: str
) -> None:
    shards = {"train/0.parquet": some_texts(300), "heldout/0.parquet": some_texts(60, seed=9)}
    corpus, source = corpus_of(tmp_path, shards, TOKENIZER)
    notices: list[str] = []
    context = StageContext(folder=Folder(str(tmp_path / "out")), seed=0, on_notice=notices.append)
    blocks = pack(TokensConfig(block_length=LENGTH, packing=packing, mask_unit="word"), corpus, source, context)  # type: ignore[arg-type]
    plain = pack(
        TokensConfig(block_length=LENGTH, packing=packing), corpus, source,  # type: ignore[arg-type]
        StageContext(folder=Folder(str(tmp_path / "plain")), seed=0),
    )  # fmt: skip
    assert (blocks.mask_unit, blocks.heldout_digest) == ("word", plain.heldout_digest)
    assert 1.2 < blocks.tokens_per_word == blocks.figures["tokens_per_word"] < 2
    assert f"{blocks.tokens_per_word:.2f} tokens a word" in notices[0]
    assert "tokens_per_word" not in plain.figures
    assert "where the text is Chinese, set corpus.language zh" in replace(blocks, tokens_per_word=1.0).summary
    assert "the tokenizer marks no words" in replace(blocks, tokens_per_word=44.0).summary
    rows = np.array([7, 3, 3])
    found = read_rows(blocks.folder, blocks.shards, rows)
    assert found.words_RL is not None
    assert found.words_RL.dtype == np.uint8
    rule = mask_rule(
        blocks.counts(), special_ids=VOCABULARY.special_ids, mask_id=VOCABULARY.mask_id, block_length=LENGTH,
        rate=0.4, unit=blocks.mask_unit,
    )  # fmt: skip
    assert mask(found, rows, epoch=0, seed=0, rule=rule).positions_RM.shape == (3, 6)


def test_a_shard_whose_words_are_gone_or_are_no_borders_is_damaged(tmp_path: Path) -> None:
    table = packed(tmp_path, "documents", "word", some_texts(40)).drop_columns("digest")
    shard, columns = Shard(name="a.parquet", rows=len(table)), ("ids", "segments", "words")
    assert fault(Folder(str(tmp_path / "word")), shard, LENGTH, columns, thorough=True) is None
    values = np.full(len(table) * LENGTH, 2, dtype=np.uint8)
    other = pa.FixedSizeListArray.from_arrays(pa.array(values), LENGTH)
    for name, found in (("two", table.set_column(2, "words", other)), ("gone", table.drop_columns("words"))):
        (tmp_path / name).mkdir()
        pq.write_table(found, tmp_path / name / "a.parquet")
    damage = {
        name: fault(Folder(str(tmp_path / name)), shard, LENGTH, columns, thorough=True) for name in ("two", "gone")
    }
    assert "neither 0 nor 1" in (damage["two"] or "")
    assert "has blocks of 0 words" in (damage["gone"] or "")
