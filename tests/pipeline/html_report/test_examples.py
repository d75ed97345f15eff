"""Held-out sentences with a word left out, as transformers' own fill-mask fills them."""

from pathlib import Path

import pytest
import torch
from published import tiny_student, tiny_tokenizer
from small_corpus import corpus_of
from tiny_families import model_for, tokenizer_for
from transformers import AutoModelForCausalLM, pipeline

from pipeline.html_report.examples import examples, gap_of, spread
from stages.corpus.artifact import Corpus
from stages.storage import Folder

WORDS = ("the", "mask", "of", "a", "tensor", "is", "its", "shape", "student", "learn", "from", "teacher", ".", "[", "]")
SENTENCE = "The student of the teacher is a student of the shape of a tensor."
TEXTS = {
    "train-000.parquet": ["a text that is learned from"],
    "heldout-000.parquet": [f"The mask. {SENTENCE} The mask of a tensor is its shape.", "a b c"],
    "heldout-001.parquet": ["x = [1, 2]; y = {3: 4}; z = x[0] + y[3]; print(x, y, z)", SENTENCE],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Folder]:
    """Teacher and student with one tokenizer."""
    places = [tmp_path_factory.mktemp(name) for name in ("teacher", "student")]
    return tuple(tiny_student(place, seed, WORDS).folder for seed, place in enumerate(places))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    words = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
    return corpus_of(tmp_path_factory.mktemp("corpus"), TEXTS, words)[0]


def test_examples_are_whole_sentences_of_held_out_documents_as_the_pipeline_of_transformers_fills_them(
    models: tuple[Folder, Folder], corpus: Corpus
) -> None:
    found = examples(corpus, *models, causal=False)
    assert [one.before + one.word + one.after for one in found] == [SENTENCE, SENTENCE]
    for folder, name in zip(models, ("teacher", "student"), strict=True):
        fill = pipeline("fill-mask", model=str(folder.path), top_k=3)
        for one in found:
            expected = fill(f"{one.before}[MASK]{one.after}")
            shown = getattr(one, name)
            assert [filling.token for filling in shown] == [guess["token_str"] for guess in expected]
            assert [f.probability for f in shown] == pytest.approx([guess["score"] for guess in expected], rel=1e-4)
            assert [f.right for f in shown] == [f.token == one.word.lower() for f in shown]


def test_literal_mask_in_a_text_is_text(models: tuple[Folder, Folder], tmp_path: Path) -> None:
    text = "The mask [MASK] of the teacher is a student of the shape of the tensor."
    words = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
    corpus, _ = corpus_of(tmp_path, {"heldout-000.parquet": [text]}, words)
    (found,) = examples(corpus, *models, causal=False)
    assert found.before.startswith("The mask [MASK] of")
    assert found.word.isalpha()


def test_text_without_a_sentence_that_fits_has_no_examples(models: tuple[Folder, Folder], tmp_path: Path) -> None:
    words = tiny_tokenizer(WORDS).backend_tokenizer.to_str()
    for number, shards in enumerate(({}, {"heldout-000.parquet": ["", "1 2 3 4 5 6 7 8 9 10 11 12", "the mask"]})):
        corpus, _ = corpus_of(tmp_path / str(number), shards, words)
        assert examples(corpus, *models, causal=False) == ()


def test_causal_models_see_only_what_stands_before_the_word(tmp_path: Path) -> None:
    tokenizer = tokenizer_for("gpt2", [SENTENCE] * 9)
    folders = [Folder(str(tmp_path / name)) for name in ("teacher", "student")]
    for folder in folders:
        model_for("gpt2", tokenizer).save_pretrained(folder.path)
        tokenizer.save_pretrained(folder.path)
    corpus, _ = corpus_of(
        tmp_path / "corpus", {"heldout-000.parquet": [SENTENCE]}, tokenizer.backend_tokenizer.to_str()
    )
    (found,) = examples(corpus, *folders, causal=True)
    assert (found.after, found.word.isalpha(), SENTENCE.startswith(found.before + found.word)) == ("", True, True)
    model = AutoModelForCausalLM.from_pretrained(folders[1].path).eval()
    with torch.no_grad():
        ids = tokenizer(found.before.rstrip(), return_tensors="pt")["input_ids"]
        best = model(input_ids=ids).logits[0, -1].softmax(-1).topk(3)
    assert [f.probability for f in found.student] == pytest.approx(best.values.tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        (SENTENCE, "student"),  # the nearest to the middle
        ("a of a of a of a of a of a tensor of a of a", "tensor"),  # one that says something
        ("of a of a of a of a of a", "a"),  # or what there is
    ],
)
def test_the_word_left_out_is_one_that_says_something_near_the_middle(sentence: str, word: str) -> None:
    gap = gap_of(sentence, tiny_tokenizer(WORDS).backend_tokenizer)
    assert gap is not None
    assert gap.word == word
    assert gap.before + gap.word + gap.after == sentence


def test_part_of_a_word_is_left_out_only_where_there_is_nothing_else() -> None:
    tokenizer = tiny_tokenizer((*WORDS, "##s", "##ing")).backend_tokenizer
    gap = gap_of("a learning student of students of students of a tensors", tokenizer)
    assert gap is not None
    assert gap.word == "student"
    assert gap.before == "a learning "


def test_spread_is_even_and_never_more_than_there_is() -> None:
    assert spread(range(9), 3) == [1, 4, 7]
    assert spread(range(2), 6) == [0, 1]
    assert spread([], 6) == []
