"""A packing that was stopped goes on; what a window of the plan reads is little more than it needs."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from published import tiny_tokenizer
from small_corpus import corpus_of
from test_tokens_stage import some_texts
from tiny import WORDS, all_rows

from stages.context import StageContext
from stages.storage import Folder
from stages.tokens.config import TokensConfig
from stages.tokens.packing.shard import ROW_GROUP, pack_shard
from stages.tokens.packing.tasks import from_text, to_text
from stages.tokens.stage import pack
from stages.tokens.vocabulary import vocabulary_of

TOKENIZER = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
CONFIG = TokensConfig(block_length=12)


def test_pack_goes_on_with_the_shards_that_were_not_packed(ray_session: None, tmp_path: Path) -> None:
    shards = {f"train/{i}.parquet": some_texts(200, seed=i, unknown=0.05) for i in range(3)}
    shards |= {"heldout/0.parquet": some_texts(50, seed=9)}
    corpus, source = corpus_of(tmp_path, shards, TOKENIZER)
    told: list[str] = []
    context = StageContext(folder=Folder(str(tmp_path / "out")), seed=0, on_notice=told.append)
    fresh = pack(CONFIG, corpus, source, context)
    told.clear()
    ended = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out" / "train").iterdir()}
    assert len(ended) == 3
    (last,) = (tmp_path / "out" / "heldout").iterdir()
    whole = last.read_bytes()
    last.unlink()
    made = pack(CONFIG, corpus, source, context)
    assert told[0] == "tokens: 3 of 4 shards had been packed before and are not packed again."
    assert ended == {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out" / "train").iterdir()}
    assert last.read_bytes() == whole
    assert (made.tokens, made.unknown_words, made.heldout_digest) == (
        fresh.tokens,
        fresh.unknown_words,
        fresh.heldout_digest,
    )
    np.testing.assert_array_equal(made.counts(), fresh.counts())
    np.testing.assert_array_equal(all_rows(made, made.shards), all_rows(fresh, fresh.shards))


def packed_of(folder: Path, texts: list[str]):  # type: ignore[no-untyped-def]
    corpus, source = corpus_of(folder, {"train/a.parquet": texts}, TOKENIZER)
    vocabulary = vocabulary_of_source(source.folder)
    return pack_shard(CONFIG, corpus.folder, "train/a.parquet", TOKENIZER, vocabulary, Folder(str(folder / "out")))


def vocabulary_of_source(folder: Folder):  # type: ignore[no-untyped-def]
    from stages.tokens.loading import load_tokenizer

    return vocabulary_of(load_tokenizer(folder.path))


def test_result_of_a_shard_comes_back_from_its_text(tmp_path: Path) -> None:
    packed = packed_of(tmp_path, some_texts(300, unknown=0.1))
    found = from_text(to_text(packed))
    np.testing.assert_array_equal(found.counts_V, packed.counts_V)
    assert found.counts_V.dtype == np.int64
    assert {name: getattr(found, name) for name in vars(packed) if name != "counts_V"} == {
        name: getattr(packed, name) for name in vars(packed) if name != "counts_V"
    }


@pytest.mark.parametrize("words", [3, 600])
def test_row_groups_have_a_fixed_number_of_blocks_however_long_documents_are(tmp_path: Path, words: int) -> None:
    texts = [" ".join(WORDS[i % 7 : i % 7 + 20] * (words // 20 + 1))[: words * 4] for i in range(9000 // words + 900)]
    packed = packed_of(tmp_path, texts)
    about = pq.read_metadata(tmp_path / "out" / "train" / "a.parquet")
    sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
    assert sum(sizes) == packed.rows > 2 * ROW_GROUP
    assert set(sizes[:-1]) == {ROW_GROUP}
    assert 0 < sizes[-1] <= ROW_GROUP
