"""Documents read one by one: how they are cut, how they fill blocks, and what of them stands on disk."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from published import SPECIAL, as_bert, tiny_tokenizer
from small_corpus import corpus_of, write
from tiny import WORDS
from tokenizers.processors import TemplateProcessing

from stages.context import StageContext
from stages.evaluation.heldout import halves
from stages.storage import Folder
from stages.tokens.config import TokensConfig
from stages.tokens.packing.best_fit import BestFit, best_fit
from stages.tokens.packing.pieces import cutter, sentence_starts, spans
from stages.tokens.packing.shard import pack_shard
from stages.tokens.packing.words import Tokens
from stages.tokens.stage import pack
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.usable_shards import fault
from stages.tokens.vocabulary import vocabulary_of

PARTS = ("a", "##a", "##b", ".", "[", "]", "mask")
TOKENIZER = tiny_tokenizer((*WORDS, *PARTS)).backend_tokenizer.to_str()
VOCABULARY = vocabulary_of(as_bert(TOKENIZER))
A, AA, DOT = (len(SPECIAL) + len(WORDS) + i for i in (0, 1, 3))
LENGTH = 12


def cut(text: str, length: int = LENGTH) -> list[list[int]]:
    made = cutter(text_tokenizer(TOKENIZER, VOCABULARY), VOCABULARY, length, "en")
    return [list(piece.ids) for piece in made.cut([text])[0]]


def words(ids: list[int]) -> str:
    return " ".join(text_tokenizer(TOKENIZER, VOCABULARY).id_to_token(i) for i in ids)


def some_texts(number: int, seed: int = 0, most: int = 31) -> list[str]:
    """Documents of 0 to 30 words, in sentences of one to nine."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        text = [f"W{i}" if rng.random() < 0.3 else f"w{i}" for i in rng.integers(0, len(WORDS), rng.integers(0, most))]
        found.append(" ".join(w + ("." if rng.random() < 0.2 else "") for w in text))
    return found


def pack_texts(folder: Path, texts: list[str], length: int = LENGTH):  # type: ignore[no-untyped-def]
    write(folder / "in" / "train" / "a.parquet", texts)
    source, target = Folder(str(folder / "in")), Folder(str(folder / "out"))
    return pack_shard(TokensConfig(block_length=length), source, "train/a.parquet", TOKENIZER, VOCABULARY, target)


def test_cut_a_document_that_fits_is_what_the_tokenizer_makes_of_it() -> None:
    """Start and end tokens are the tokenizer's own, and take two of the places."""
    whole = cutter(text_tokenizer(TOKENIZER, VOCABULARY), VOCABULARY, LENGTH, "en")
    text = " ".join(WORDS[:10])
    ids = tiny_tokenizer((*WORDS, *PARTS))(text).input_ids
    assert [[*whole.start, *piece.ids, *whole.end] for piece in whole.cut([text])[0]] == [ids]
    assert whole.cut([""]) == [[]]
    assert whole.cut([]) == []


@pytest.mark.parametrize(
    ("template", "start", "end"),
    [
        ("[CLS] $A [SEP]", (2,), (3,)),
        ("[CLS] $A", (2,), ()),
        ("$A [SEP]", (), (3,)),
        ("[CLS] [CLS] $A [SEP]", (2, 2), (3,)),
    ],
)
def test_cutter_start_and_end_tokens_are_where_the_tokenizer_puts_them(
    template: str, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    tokenizer = text_tokenizer(TOKENIZER, VOCABULARY)
    tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    found = cutter(tokenizer, VOCABULARY, LENGTH, "en")
    assert (found.start, found.end) == (start, end)
    tokenizer.post_processor = None
    bare = cutter(tokenizer, VOCABULARY, LENGTH, "en")
    assert (bare.start, bare.end) == ((2,), (3,))


def test_cut_a_long_document_ends_at_sentences() -> None:
    assert [words(p) for p in cut("w1 w2 w3. W4 w5 w6 w7. W8 w9 w10 w11 w12. W13")] == [
        "w1 w2 w3 . w4 w5 w6 w7 .",
        "w8 w9 w10 w11 w12 . w13",
    ]


def test_cut_a_sentence_that_is_too_long_ends_between_words() -> None:
    assert [words(p) for p in cut("w1 w2 w3 w4 w5 w6 w7 w8 aaa w9 w10")] == [
        "w1 w2 w3 w4 w5 w6 w7 w8",
        "a ##a ##a w9 w10",
    ]


def test_cut_a_word_that_is_too_long_ends_between_tokens() -> None:
    assert cut("a" * 23) == [[A, *[AA] * 9], [AA] * 10, [AA] * 3]


def test_sentences_end_before_white_space_or_with_a_mark_that_needs_none() -> None:
    """A reaction's molecules are no sentences; Chinese has no spaces."""
    assert sentence_starts("CC(C)=O.COc1ccc.C>>C", "en") == [0]
    assert sentence_starts("Mr. Smith saw it. He left.", "en") == [0, 18]
    assert sentence_starts("我是人。你好！他走了。", "zh") == [0, 4, 7]


def test_cut_loses_no_token_and_makes_no_piece_longer_than_a_block() -> None:
    texts = some_texts(300, most=80)
    made = cutter(text_tokenizer(TOKENIZER, VOCABULARY), VOCABULARY, LENGTH, "en").cut(texts)
    for text, pieces in zip(texts, made, strict=True):
        ids = text_tokenizer(TOKENIZER, VOCABULARY).encode(text, add_special_tokens=False).ids
        assert [i for piece in pieces for i in piece.ids] == ids
        assert all(0 < len(piece) <= LENGTH - 2 for piece in pieces)


@pytest.mark.parametrize("seed", range(5))
def test_spans_are_greedy_by_the_first_kind_of_border_there_is(seed: int) -> None:
    """Beside a loop that tries every end, the farthest first, kind after kind."""
    rng = np.random.default_rng(seed)
    tokens, most = 200, 13
    kinds = [sorted(rng.choice(np.arange(1, tokens), n, replace=False).tolist()) for n in (8, 40)]
    begin, expected = 0, []
    while tokens - begin > most:
        ends = [e for kind in kinds for e in range(begin + most, begin, -1) if e in kind] + [begin + most]
        expected.append((begin, ends[0]))
        begin = ends[0]
    assert list(spans(tokens, most, *kinds)) == [*expected, (begin, tokens)]


def slow_best_fit(lengths: list[int], room: int) -> list[list[int]]:
    """Longest first, each into the bin with the least room that has enough; of equals the one filled last."""
    bins: list[list[int]] = []
    changed: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        left = [room - sum(lengths[i] for i in b) for b in bins]
        fitting = [n for n, r in enumerate(left) if r >= lengths[index]]
        chosen = min(
            fitting, key=lambda n: (left[n], -max(i for i, c in enumerate(changed) if c == n)), default=len(bins)
        )
        if chosen == len(bins):
            bins.append([])
        bins[chosen].append(index)
        changed.append(chosen)
    return bins


@pytest.mark.parametrize("seed", range(5))
def test_best_fit_is_that_of_a_plain_loop(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 33, 150).tolist()
    assert best_fit(lengths, 32) == slow_best_fit(lengths, 32)


def test_best_fit_over_windows_holds_a_bounded_number_of_tokens_and_loses_no_piece() -> None:
    rng, fit = np.random.default_rng(0), BestFit(length=32, pad_id=0, window=20)
    pieces = [Tokens([number + 1] * int(rng.integers(2, 33))) for number in range(2000)]
    found: list[list[int]] = []
    for start in range(0, len(pieces), 7):
        rows = fit.add(pieces[start : start + 7])
        assert fit.held < 20 * 32
        found += [[*ids] for ids in rows.ids_RL.tolist()]
    found += fit.finish().ids_RL.tolist()
    assert fit.held == 0
    counts = np.bincount(np.concatenate([np.array(row) for row in found]), minlength=2001)
    assert counts[1:].tolist() == [len(piece) for piece in pieces]
    assert len(found) * 32 <= 1.05 * sum(map(len, pieces))


def test_pack_shard_in_documents_holds_every_document_by_itself(tmp_path: Path) -> None:
    texts = [*some_texts(400), "w1 [MASK] w2"]
    found = pack_texts(tmp_path, texts)
    table = pq.read_table(tmp_path / "out" / "train" / "a.parquet")
    ids, segments = (np.array(table.column(name).to_pylist()) for name in ("ids", "segments"))
    pieces = [tuple(row[seg == n]) for row, seg in zip(ids, segments, strict=True) for n in range(1, seg.max() + 1)]
    made = cutter(text_tokenizer(TOKENIZER, VOCABULARY), VOCABULARY, LENGTH, "en").cut(texts)
    expected = [(2, *piece.ids, 3) for document in made for piece in document]
    missing = Counter(expected) - Counter(pieces)
    assert not Counter(pieces) - Counter(expected)
    assert sum(len(piece) - 2 for piece in missing.elements()) < 5 * found.refused + 1  # a refused block has 4 at most
    assert (ids[segments == 0] == VOCABULARY.pad_id).all()
    assert all((np.diff(np.append(seg[seg > 0], [])) >= 0).all() for seg in segments)
    assert found.kept == (segments > 0).sum()
    np.testing.assert_array_equal(found.counts_V, np.bincount(ids[segments > 0], minlength=VOCABULARY.size))
    assert not (ids == VOCABULARY.mask_id).any()
    assert found.tail == 0


def test_pack_shard_in_documents_is_the_same_twice_and_refuses_blocks_with_too_little_to_mask(tmp_path: Path) -> None:
    """w1 alone: three tokens of twelve, one of them maskable."""
    for name in ("one", "two"):
        found = pack_texts(tmp_path / name, ["w1 w2 w3 w4 w5 w6", "w1"])
        assert (found.rows, found.refused) == (1, 0)
    first, second = ((tmp_path / n / "out" / "train" / "a.parquet").read_bytes() for n in ("one", "two"))
    assert first == second
    found = pack_texts(tmp_path / "three", ["w1 w2 w3 w4 w5 w6 w7 w8 w9 w10", "w1"])
    assert (found.rows, found.refused) == (1, 1)


@pytest.mark.parametrize("number", [5, 1500, 2048, 2500])
def test_pack_shard_halved_has_no_document_on_both_sides(number: int, tmp_path: Path) -> None:
    """Each document says its number; documents are read a thousand at a time, packed in windows of blocks."""
    texts = [" ".join([f"w{n % 40}"] * 6) + f" w{n // 1250}" for n in range(number)]
    write(tmp_path / "in" / "heldout" / "a.parquet", texts)
    source, target = Folder(str(tmp_path / "in")), Folder(str(tmp_path / "out"))
    config = TokensConfig(block_length=LENGTH)
    found = pack_shard(config, source, "heldout/a.parquet", TOKENIZER, VOCABULARY, target, halved=True)
    table = pq.read_table(tmp_path / "out" / "heldout" / "a.parquet")
    ids = np.array(table.column("ids").to_pylist())
    middle = number // 2
    expected = [sorted(f"w{n % 40}" for n in part) for part in (range(middle), range(middle, number))]
    assert found.half is not None
    sides = [ids[: found.half], ids[found.half :]]
    assert [sorted(words(row[1:2].tolist()) for row in side) for side in sides] == expected


def test_pack_in_documents_under_ray_counts_what_is_no_padding(ray_session: None, tmp_path: Path) -> None:
    shards = {"train/0.parquet": some_texts(300), "heldout/0.parquet": some_texts(60, seed=9)}
    corpus, source = corpus_of(tmp_path, shards, TOKENIZER)
    context = StageContext(folder=Folder(str(tmp_path / "out")), seed=0)
    blocks = pack(TokensConfig(block_length=LENGTH), corpus, source, context)
    assert blocks.packing == "documents"
    assert blocks.tokens == blocks.counts().sum()
    assert 0.85 < blocks.fill == blocks.tokens / (blocks.rows * LENGTH) <= 1
    assert [fault(blocks.folder, s, LENGTH, blocks.columns, thorough=True) for s in blocks.shards] == [None]
    assert "% full" in blocks.summary
    first, second = halves(blocks)
    (shard,) = blocks.heldout
    assert first.heldout_rows == (0, shard.half)
    assert second.heldout_rows == (shard.half, shard.rows)
