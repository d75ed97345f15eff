"""Teachers whose folder has the files of a slow tokenizer alone."""

import json
from pathlib import Path

import pytest
from tiny_families import model_for, tokenizer_for
from transformers import GPT2TokenizerFast, PreTrainedTokenizerFast, RobertaTokenizerFast

from stages.context import StageContext
from stages.errors import InputError
from stages.storage import Folder
from stages.teacher.config import TeacherConfig
from stages.teacher.fitness.preflight import check
from stages.teacher.stage import fetch
from stages.tokens.loading import load_tokenizer

TEXTS = [" ".join(f"w{i}" for i in range(40))] * 50


def saved(name: str, folder: Path) -> PreTrainedTokenizerFast:
    """A teacher without its tokenizer; returns that."""
    tokenizer = tokenizer_for(name, TEXTS)
    model_for(name, tokenizer).save_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize(("name", "kind"), [("roberta", RobertaTokenizerFast), ("gpt2", GPT2TokenizerFast)])
def test_words_and_merges_become_a_fast_tokenizer(name: str, kind: type, tmp_path: Path) -> None:
    """As old checkpoints of these two have them: vocab.json and merges.txt."""
    said = json.loads(saved(name, tmp_path / "teacher").backend_tokenizer.to_str())["model"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in said["merges"]]
    (tmp_path / "teacher" / "vocab.json").write_text(json.dumps(said["vocab"]))
    (tmp_path / "teacher" / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    config = TeacherConfig(model=str(tmp_path / "teacher"))
    check(config)
    made = fetch(config, StageContext(folder=Folder(str(tmp_path / "out")), seed=0))
    expected = kind(vocab=said["vocab"], merges=[tuple(pair.split()) for pair in merges])
    found = load_tokenizer(made.folder.path)
    assert found.is_fast
    for text in ("w1 w2 w33", " w7", "other"):
        assert found(text)["input_ids"] == expected(text)["input_ids"]


def test_a_slow_tokenizer_that_cannot_be_converted_is_refused_with_the_reason(tmp_path: Path) -> None:
    saved("xlm-roberta", tmp_path / "teacher")
    (tmp_path / "teacher" / "sentencepiece.bpe.model").write_bytes(b"\x0a\x05words")
    with pytest.raises(InputError, match=r"no tokenizer\.json, and transformers makes none"):
        check(TeacherConfig(model=str(tmp_path / "teacher")))


def test_a_teacher_that_needs_code_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "teacher"
    saved("bert", folder).save_pretrained(folder)
    said = json.loads((folder / "config.json").read_text())
    said |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForMaskedLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "own.py").write_text("raise RuntimeError('it ran')")
    with pytest.raises(InputError, match="needs code of its own, which is never run here"):
        check(TeacherConfig(model=str(folder)))
