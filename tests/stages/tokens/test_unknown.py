"""Text that the teacher's tokenizer does not know: how much it is, which words, and that a person is told."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published import as_bert, tiny_tokenizer
from small_corpus import corpus_of
from tiny import WORDS, tiny_blocks
from tokenizers import Tokenizer

import stages.tokens.unknown
from stages.context import StageContext
from stages.errors import InputError
from stages.storage import Folder
from stages.tokens.blocks import Blocks
from stages.tokens.config import TokensConfig
from stages.tokens.stage import pack
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.unknown import UnknownWords, commonest
from stages.tokens.vocabulary import vocabulary_of

TOKENIZER = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
KNOWN = [" ".join(WORDS)] * 10


def pack_shards(
    folder: Path, train: list[str], heldout: list[str] = KNOWN
) -> tuple[Blocks, list[str], list[tuple[int, Mapping[str, float]]]]:
    """The blocks, what a person was told, and what was measured."""
    corpus, source = corpus_of(folder, {"train/0.parquet": train, "heldout/0.parquet": heldout}, TOKENIZER)
    notices: list[str] = []
    metrics: list[tuple[int, Mapping[str, float]]] = []
    context = StageContext(
        folder=Folder(str(folder / "out")),
        seed=0,
        on_notice=notices.append,
        on_metrics=lambda step, values: metrics.append((step, values)),
    )
    return pack(TokensConfig(block_length=12, packing="stream"), corpus, source, context), notices, metrics


@pytest.mark.parametrize(
    ("train", "heldout", "part"), [(["X1 Y2 Z3"] * 40, KNOWN, "training"), (KNOWN, ["Ä"] * 40, "held-out")]
)
def test_pack_text_that_is_all_unknown_is_refused_by_its_share_and_not_for_being_too_little(
    ray_session: None, tmp_path: Path, train: list[str], heldout: list[str], part: str
) -> None:
    with pytest.raises(InputError) as refusal:
        pack_shards(tmp_path, train, heldout)
    said = str(refusal.value)
    assert f"no {part} block of 12 tokens" in said
    assert "100.0% of the text's tokens are unknown" in said
    assert "'X1', 'Y2', 'Z3'" in said or "'Ä'" in said
    assert all(word in said for word in ("were refused", "case", "spaces", "normalisation"))
    assert "give more text" not in said


def test_pack_text_of_special_tokens_that_leaves_no_block_is_not_blamed_on_the_vocabulary(
    ray_session: None, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZER)
    tokenizer.add_special_tokens(["[URL]"])
    shards = {"train/0.parquet": ["w1 [URL]"] * 60, "heldout/0.parquet": KNOWN}
    corpus, source = corpus_of(tmp_path, shards, tokenizer.to_str())
    with pytest.raises(InputError, match=r"18 were refused, since .*; special tokens, .*, cannot be\.$"):
        pack(
            TokensConfig(block_length=12, packing="stream"),
            corpus,
            source,
            StageContext(folder=Folder(str(tmp_path / "o")), seed=0),
        )


def test_pack_more_than_2_percent_unknown_is_said_with_the_ten_commonest_words(
    ray_session: None, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    strange = [f"S{number}" for number in range(14)]  # S0 is the commonest
    shares = np.arange(14, 0, -1) ** 2 / (np.arange(14, 0, -1) ** 2).sum()
    texts = [" ".join([*rng.choice(WORDS, 20), rng.choice(strange, p=shares)]) for _ in range(500)]
    blocks, notices, metrics = pack_shards(tmp_path, texts)
    counts = Counter(word for text in texts for word in text.split() if word in strange)
    total = 500 * 21 + len(KNOWN) * len(WORDS)
    assert blocks.text_unknown_rate == pytest.approx(500 / total)
    assert blocks.unknown_words == tuple(sorted(counts, key=lambda word: (-counts[word], word)))[:10]
    (said,) = notices
    assert f"{500 / total:.1%} of the text's tokens are unknown" in said
    assert ", ".join(map(repr, blocks.unknown_words)) in said
    assert f"{blocks.tail_tokens:,} tokens left over" in said
    assert metrics == [(0, blocks.figures)]
    assert blocks.figures == {
        "unknown_rate": blocks.text_unknown_rate,
        "refused_blocks": blocks.refused_blocks,
        "fill": 1.0,
        "tail_tokens": blocks.tail_tokens,
    }


def test_pack_text_that_is_known_is_told_in_figures_without_advice(ray_session: None, tmp_path: Path) -> None:
    blocks, notices, _ = pack_shards(tmp_path, [*KNOWN, "? w1"])  # one in 802
    assert notices == [
        f"tokens: {blocks.rows} blocks of 12, 100.0% full; 0.12% of the text unknown, 0 blocks refused, "
        f"{blocks.tail_tokens} tokens left over."
    ]


def test_blocks_recorded_before_words_were_counted_still_say_their_share(tmp_path: Path) -> None:
    old = replace(tiny_blocks(tmp_path), unknown_rate=0.3)
    assert old.figures["unknown_rate"] == 0.3
    assert "30.0% of the text's tokens are unknown to the teacher's tokenizer: look at" in old.summary


def test_unknown_words_are_as_the_text_has_them_and_long_ones_cut() -> None:
    tokenizer = text_tokenizer(TOKENIZER, vocabulary_of(as_bert(TOKENIZER)))
    found = UnknownWords(tokenizer, unk_id=1)
    texts = ["w1 Größe w2 Größe!", "w3", f"{'x' * 50} w4"]
    found.add(texts, [tokenizer.encode(text, add_special_tokens=False).ids for text in texts])
    assert (found.tokens, found.unknown) == (8, 4)
    assert found.words == {"Größe": 2, "!": 1, f"{'x' * 30}…": 1}


def test_unknown_words_beyond_the_sample_are_counted_and_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.tokens.unknown, "_SAMPLE", 20)
    tokenizer = Tokenizer.from_str(TOKENIZER)
    found = UnknownWords(tokenizer, unk_id=1)
    for text in ("w1 " * 5 + "? !!! beyond", "late"):
        found.add([text], [tokenizer.encode(text, add_special_tokens=False).ids])
    assert (found.unknown, found.words) == (4, {"?": 1, "!!!": 1})


def test_commonest_of_equally_common_words_are_the_first_in_the_alphabet() -> None:
    assert commonest({"b": 2, "c": 5, "a": 2}) == ("c", "a", "b")
