"""Tokenizers as their own files have them, and the roles of their special tokens."""

import json
from pathlib import Path

import pytest
from tiny_families import model_for, tokenizer_for
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from stages.errors import InputError
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.preflight import check
from stages.tokens.loading import load_tokenizer
from stages.tokens.portable import make_portable
from stages.tokens.text_tokenizer import text_tokenizer
from stages.tokens.vocabulary import vocabulary_of

TEXTS = [" ".join(f"w{i}" for i in range(40))] * 50
BRACKETS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def word_level(*words: str, **roles: str) -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def test_a_kind_that_the_models_class_does_not_have_is_read_as_its_file_says(tmp_path: Path) -> None:
    """transformers 5 makes a WordPiece of it, which cuts fox's in three."""
    roles = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    plain = word_level(*BRACKETS, "the", "fox's", "fox", "'", "s")
    BertTokenizerFast(tokenizer_object=plain.backend_tokenizer, **roles).save_pretrained(tmp_path)
    found = load_tokenizer(tmp_path)
    assert found.tokenize("the fox's") == ["the", "fox's"]
    assert (found.mask_token, found.cls_token) == ("[MASK]", "[CLS]")
    found.save_pretrained(tmp_path / "again")
    make_portable(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").tokenize("the fox's") == ["the", "fox's"]


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "gpt2"])
def test_a_file_that_the_class_obeys_gives_the_ids_that_it_gave(name: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_for(name, TEXTS)
    tokenizer.save_pretrained(tmp_path)
    for text in ("w1 w2 w33", " w7  w8", "other"):
        assert load_tokenizer(tmp_path)(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_a_special_token_that_no_file_has_is_refused_though_there_are_embeddings_to_spare(tmp_path: Path) -> None:
    """transformers makes up the mask token that a BERT ought to have, with an id that was never trained."""
    folder = tmp_path / "teacher"
    tokenizer = tokenizer_for("bert", TEXTS)
    model_for("bert", tokenizer).save_pretrained(folder)
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    (folder / "vocab.txt").write_text("\n".join(word if word != "[MASK]" else "other" for word in words) + "\n")
    config = json.loads((folder / "config.json").read_text())
    assert config["vocab_size"] == len(words)
    (folder / "vocab.txt").write_text("\n".join(word for word in words if word != "[MASK]") + "\n")
    with pytest.raises(InputError, match="lacks mask_token"):
        check(TeacherConfig(model=str(folder)))


def test_an_unknown_word_that_has_no_role_is_special_all_the_same() -> None:
    roles = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "cls", "sep", "mask")}
    found = vocabulary_of(word_level(*BRACKETS, "the", **roles))
    assert found.unk_id == 1
    assert 1 in found.special_ids


def test_the_end_of_a_text_is_no_unknown_word() -> None:
    """GPT-2's tokenizer says that it is both; every text would be full of unknown words."""
    found = vocabulary_of(tokenizer_for("gpt2", TEXTS), causal=True)
    assert found.unk_id is None
    assert found.sep_id == found.pad_id


def test_a_special_token_of_one_letter_is_refused_where_texts_have_it() -> None:
    tokenizer = word_level("[PAD]", "[UNK]", "[CLS]", "[SEP]", "*", "the", mask_token="*", pad_token="[PAD]")
    tokenizer.cls_token, tokenizer.sep_token = "[CLS]", "[SEP]"
    with pytest.raises(InputError, match=r"has '\*' for a special token"):
        text_tokenizer(tokenizer.backend_tokenizer.to_str(), vocabulary_of(tokenizer))
