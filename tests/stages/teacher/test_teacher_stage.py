"""The teacher: what is accepted and put on storage, and what is refused, in one sentence, before anything starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import saved_teacher
import torch
from published import SPECIAL, tiny_tokenizer
from saved_teacher import edited
from tiny import VOCAB, WORDS, tiny_bert
from transformers import AutoModelForMaskedLM, AutoTokenizer

from stages.context import StageContext
from stages.errors import InputError
from stages.storage import Folder
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.preflight import check
from stages.teacher.source import identity
from stages.teacher.stage import fetch


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A tiny BERT with its tokenizer, as a user would have it."""
    return saved_teacher.saved(tmp_path / "teacher")


def twice(folder: Path, words: list[str]) -> None:
    """A vocabulary in the old form, one word of which stands twice."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in (*SPECIAL, *words)))


def renamed(folder: Path, word: str, other: str) -> None:
    """Another name for a word, everywhere in the tokenizer's files."""
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_text((folder / file).read_text().replace(word, other))


def test_fetch_folder_gives_the_same_logits_in_fp32(saved: Path, tmp_path: Path) -> None:
    made = fetch(TeacherConfig(model=str(saved)), StageContext(folder=Folder(str(tmp_path / "out")), seed=0))
    again = AutoModelForMaskedLM.from_pretrained(made.folder.path)
    words = AutoTokenizer.from_pretrained(made.folder.path)
    batch = words("w1 w2 w3", return_tensors="pt")
    assert torch.equal(again.eval()(**batch).logits, tiny_bert()(**batch).logits)
    assert (made.layers, made.vocab_size, made.width) == (2, VOCAB, 24)
    assert made.parameters == sum(p.numel() for p in again.parameters())


def test_identity_is_about_content_and_not_about_place(saved: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    before = identity(TeacherConfig(model=str(saved)))
    saved.rename(moved)
    assert identity(TeacherConfig(model=str(moved))) == before
    assert identity(TeacherConfig(model=str(edited(moved, pad_token_id=1)))) != before


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda f: f.rename(f.parent / "away"), "is no folder"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer"),
    "another family": (lambda f: edited(f, model_type="roberta"), "roberta"),
    "no head": (lambda f: tiny_bert().bert.save_pretrained(f), "a BertModel, has no head that predicts tokens"),
    "no head, unnamed": (
        lambda f: tiny_bert().bert.save_pretrained(f) or edited(f, architectures=None),
        "no head that predicts",
    ),
    "relative positions": (lambda f: edited(f, position_embedding_type="relative_key"), "relative_key"),
    "a decoder": (lambda f: edited(f, is_decoder=True), "decoder"),
    "larger vocabulary": (lambda f: tiny_tokenizer((*WORDS, "more")).save_pretrained(f), "vocabulary does not match"),
    "a word twice": (lambda f: twice(f, [*WORDS, WORDS[0]]), f"does not match.*{VOCAB} embeddings.* {VOCAB + 1}"),
    "a special token lacking": (
        lambda f: tiny_tokenizer(WORDS).save_pretrained(f) and renamed(f, "mask_token", "other_token"),
        "lacks mask_token",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_check_unfit_teacher_is_refused_in_one_sentence(saved: Path, case: str) -> None:
    spoil, words = REFUSED[case]
    check(TeacherConfig(model=str(saved)))
    spoil(saved)
    with pytest.raises(InputError, match=words) as refused:
        check(TeacherConfig(model=str(saved)))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
