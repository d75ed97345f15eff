"""A tokenizer is loaded for our use: without lengths, and without what the loading would leave in its files."""

import json
from pathlib import Path

import pytest
from published import tiny_tokenizer
from tiny import WORDS, tiny_bert

from stages.context import StageContext
from stages.storage import Folder
from stages.teacher.config import TeacherConfig
from stages.teacher.stage import fetch
from stages.tokens.loading import load_tokenizer


@pytest.fixture
def padded(tmp_path: Path) -> Path:
    """A BERT whose tokenizer was saved after it had padded and cut something."""
    tokenizer = tiny_tokenizer(WORDS)
    tokenizer("w1 w2", padding="max_length", truncation=True, max_length=8)
    tiny_bert().save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    said = json.loads((tmp_path / "teacher" / "tokenizer.json").read_text())
    assert said["padding"], "else the case is none"
    assert said["truncation"]
    return tmp_path / "teacher"


def test_load_tokenizer_that_was_saved_with_padding_and_truncation_does_neither(padded: Path) -> None:
    tokenizer = load_tokenizer(padded)
    assert tokenizer.backend_tokenizer.encode("w1 w2").tokens == ["[CLS]", "w1", "w2", "[SEP]"]
    assert len(tokenizer.backend_tokenizer.encode(" ".join(WORDS)).ids) == len(WORDS) + 2
    assert tokenizer.mask_token == "[MASK]"


def test_fetch_teacher_whose_tokenizer_was_saved_with_padding_is_stored_without(padded: Path, tmp_path: Path) -> None:
    made = fetch(TeacherConfig(model=str(padded)), StageContext(folder=Folder(str(tmp_path / "out")), seed=0))
    whole = json.loads((made.folder.path / "tokenizer.json").read_text())
    assert (whole["padding"], whole["truncation"]) == (None, None)
    said = json.loads((made.folder.path / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "max_length", "stride"} & set(said)
    assert str(tmp_path) not in json.dumps(said)
