"""Packing beside six lines, and what is counted, refused and recorded on the way."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from published import SPECIAL, as_bert, tiny_tokenizer
from small_corpus import corpus_of, write
from tiny import VOCAB, WORDS, all_rows
from tokenizers import Tokenizer
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from stages.context import StageContext
from stages.corpus.documents import documents
from stages.errors import ConfigError, InputError
from stages.storage import Folder
from stages.tokens.config import TokensConfig
from stages.tokens.packing.shard import pack_shard
from stages.tokens.stage import pack
from stages.tokens.vocabulary import Vocabulary, vocabulary_of

TOKENIZER = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
LENGTH = 12


def some_texts(number: int, seed: int = 0, unknown: float = 0.0) -> list[str]:
    """Documents of 0 to 30 words; some words the tokenizer does not know."""
    rng = np.random.default_rng(seed)
    words = [[f"w{i}" for i in rng.integers(0, len(WORDS), rng.integers(0, 31))] for _ in range(number)]
    return [" ".join("?" if rng.random() < unknown else w for w in document) for document in words]


def slow_pack(texts: list[str], length: int) -> tuple[list[list[int]], int]:
    """(blocks, tokens left over), by the words of the contract."""
    tokenizer = Tokenizer.from_str(TOKENIZER)
    line = [i for t in texts if t.strip() for i in [*tokenizer.encode(t, add_special_tokens=False).ids, 3]]
    full = len(line) // (length - 2)
    blocks = [[2, *line[i * (length - 2) : (i + 1) * (length - 2)], 3] for i in range(full)]
    return blocks, len(line) - full * (length - 2)


def pack_texts(folder: Path, texts: list[str], length: int = LENGTH):  # type: ignore[no-untyped-def]
    write(folder / "in" / "train" / "a.parquet", texts)
    source, target = Folder(str(folder / "in")), Folder(str(folder / "out"))
    config = TokensConfig(block_length=length, packing="stream")
    return pack_shard(config, source, "train/a.parquet", TOKENIZER, vocabulary_of(as_bert(TOKENIZER)), target)


def blocks_in(file: Path) -> list[list[int]]:
    return pq.read_table(file).column("ids").to_pylist()


@pytest.mark.parametrize("number", [40, 2500])
def test_pack_shard_blocks_tail_counts_and_digest_are_those_of_six_lines(number: int, tmp_path: Path) -> None:
    """2,500 documents cross the batches that documents are read in and the row groups that blocks are written in."""
    texts = some_texts(number)
    expected, tail = slow_pack(texts, LENGTH)
    found = pack_texts(tmp_path, texts)
    assert blocks_in(tmp_path / "out" / "train" / "a.parquet") == expected
    assert (found.rows, found.tail, found.refused) == (len(expected), tail, 0)
    np.testing.assert_array_equal(found.counts_V, np.bincount(np.ravel(expected), minlength=VOCAB))
    assert found.digest == hashlib.sha256(np.array(expected, dtype=np.int32).tobytes()).hexdigest()


def test_pack_shard_blocks_with_too_little_to_mask_are_refused_and_counted(tmp_path: Path) -> None:
    texts = some_texts(300, unknown=0.5)
    packed, _ = slow_pack(texts, LENGTH)
    kept = [block for block in packed if sum(i > 4 for i in block) >= 5]
    assert 0 < len(kept) < len(packed)
    found = pack_texts(tmp_path, texts)
    assert blocks_in(tmp_path / "out" / "train" / "a.parquet") == kept
    assert (found.rows, found.refused) == (len(kept), len(packed) - len(kept))
    np.testing.assert_array_equal(found.counts_V, np.bincount(np.ravel(kept), minlength=VOCAB))


def test_pack_shard_too_little_text_gives_an_empty_file_and_a_tail(tmp_path: Path) -> None:
    found = pack_texts(tmp_path, ["w1 w2", ""])
    assert (found.rows, found.tail) == (0, 3)
    assert blocks_in(tmp_path / "out" / "train" / "a.parquet") == []


def test_documents_come_in_order_a_thousand_at_a_time(tmp_path: Path) -> None:
    texts = some_texts(2100)
    write(tmp_path / "a.parquet", texts)
    batches = list(documents(Folder(str(tmp_path)), "a.parquet"))
    assert [len(batch) for batch in batches] == [1024, 1024, 52]
    assert [text for batch in batches for text in batch] == texts


def test_vocabulary_of_names_ids_and_every_special_token() -> None:
    tokenizer = tiny_tokenizer(WORDS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[NEW]"]})
    found = vocabulary_of(tokenizer)
    names = ("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]")
    ids = {"cls_id": 2, "sep_id": 3, "mask_id": 4, "unk_id": 1, "special_ids": (0, 1, 2, 3, 4, VOCAB)}
    assert found == Vocabulary(size=VOCAB + 1, names=names, **ids)


def test_vocabulary_with_a_word_twice_reaches_to_the_largest_id(tmp_path: Path) -> None:
    """The first of the two lines is no word's id then, and all that follow keep theirs."""
    words = [*SPECIAL, *WORDS[:10], WORDS[3], *WORDS[10:]]
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    tokenizer = BertTokenizerFast.from_pretrained(tmp_path)
    assert tokenizer.convert_tokens_to_ids(WORDS[-1]) == len(words) - 1
    text = tokenizer.backend_tokenizer.to_str()
    assert Tokenizer.from_str(text).get_vocab_size() == len(words) - 1
    assert vocabulary_of(as_bert(text)).size == len(words)
    write(tmp_path / "in" / "train" / "a.parquet", [f"{WORDS[-1]} {WORDS[3]} " * 20])
    source, target = Folder(str(tmp_path / "in")), Folder(str(tmp_path / "out"))
    found = pack_shard(
        TokensConfig(block_length=LENGTH, packing="stream"),
        source,
        "train/a.parquet",
        text,
        vocabulary_of(as_bert(text)),
        target,
    )
    assert found.counts_V[len(words) - 1] == found.counts_V[len(SPECIAL) + 10] > 0
    assert len(found.counts_V) == len(words)


def test_vocabulary_of_a_tokenizer_without_a_role_is_refused_by_name() -> None:
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(TOKENIZER), cls_token="[CLS]", pad_token="[PAD]"
    )
    with pytest.raises(InputError, match="lacks sep_token, mask_token"):
        vocabulary_of(other)
    with pytest.raises(InputError, match="lacks eos_token"):
        vocabulary_of(other, causal=True)


def test_tokens_config_block_too_short_is_refused_with_its_value() -> None:
    with pytest.raises(ConfigError, match=r"tokens\.block_length is 7"):
        TokensConfig(block_length=7, packing="stream")


def test_pack_under_ray_joins_the_shards_in_order_whoever_finishes_first(ray_session: None, tmp_path: Path) -> None:
    shards = {f"train/{i}.parquet": some_texts(n, seed=i, unknown=0.02) for i, n in enumerate((900, 30, 1, 60))}
    shards |= {"heldout/0.parquet": some_texts(20, seed=9)}
    corpus, source = corpus_of(tmp_path, shards, TOKENIZER)
    seen: list[float] = []
    context = StageContext(
        folder=Folder(str(tmp_path / "out")), seed=0, on_progress=lambda done, total, unit: seen.append(done)
    )
    found = pack(TokensConfig(block_length=LENGTH, packing="stream"), corpus, source, context)
    packed = {name: slow_pack(texts, LENGTH) for name, texts in shards.items()}
    train = [block for name in corpus.shards for block in packed[name][0]]
    kept = [block for block in train if sum(i > 4 for i in block) >= 5]
    np.testing.assert_array_equal(all_rows(found, found.shards), kept)
    np.testing.assert_array_equal(all_rows(found, found.heldout), packed["heldout/0.parquet"][0])
    np.testing.assert_array_equal(found.counts(), np.bincount(np.ravel(kept), minlength=VOCAB))
    assert found.rows == len(kept)
    assert found.tokens == len(kept) * LENGTH
    assert found.tail_tokens == sum(tail for _, tail in packed.values())
    assert found.refused_blocks == len(train) - len(kept)
    assert found.unknown_rate == pytest.approx((np.array(kept) == 1).mean())
    assert seen == [1, 2, 3, 4, 5]


def test_pack_corpus_too_small_for_a_block_is_refused_and_says_which_part(ray_session: None, tmp_path: Path) -> None:
    shards = {"train/0.parquet": some_texts(50), "heldout/0.parquet": ["w1"]}
    corpus, source = corpus_of(tmp_path, shards, TOKENIZER)
    with pytest.raises(InputError, match="no held-out block of 12 tokens; give more text"):
        pack(
            TokensConfig(block_length=LENGTH, packing="stream"),
            corpus,
            source,
            StageContext(folder=Folder(str(tmp_path / "out")), seed=0),
        )
