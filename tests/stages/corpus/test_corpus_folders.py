"""The corpus stage on folders that hold more than good text."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stages.context import StageContext
from stages.corpus.checks import identity
from stages.corpus.config import CorpusConfig
from stages.corpus.stage import gather
from stages.errors import InputError
from stages.storage import Folder

TEXTS = [f"This is document number {number}, and it says nothing more." for number in range(400)]


def write_lines(file: Path, texts: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(texts) + "\n")


def test_gather_folder_with_its_own_output_in_it_makes_the_same_again_and_counts_what_is_left_out(
    ray_session: None, tmp_path: Path
) -> None:
    told: list[str] = []
    write_lines(tmp_path / "in/a.txt", TEXTS)
    write_lines(tmp_path / "in/.b.txt", TEXTS)
    config = CorpusConfig(paths=(f"{tmp_path}/in",), heldout_fraction=0.1)
    root = Folder(f"{tmp_path}/in/out")
    folder = root / "corpus" / ("0" * 16)
    before = identity(config, root)
    first, again = (gather(config, StageContext(folder=folder, seed=0, on_notice=told.append)) for _ in range(2))
    assert identity(config, root) == before
    assert first.digest == again.digest
    assert (first.left_out, again.left_out) == (1, 2), "its own folder is there the second time"
    assert told[-1] == f"corpus: 2 files or folders were left out as no text; {folder}/skipped.txt says which and why."
    assert ".b.txt is hidden." in folder.read_bytes("skipped.txt").decode()


def test_gather_line_without_text_in_mid_corpus_is_skipped_with_its_file_by_choice(
    ray_session: None, tmp_path: Path
) -> None:
    write_lines(tmp_path / "in/a.txt", TEXTS[:100])
    rows = [json.dumps({"text": text}) for text in TEXTS[100:]]
    write_lines(tmp_path / "in/b.jsonl", [*rows[:60], '{"title": "no text"}', *rows[60:]])
    config = CorpusConfig(paths=(f"{tmp_path}/in",), heldout_fraction=0.1)
    context = StageContext(folder=Folder(f"{tmp_path}/out"), seed=0)
    with pytest.raises(InputError, match=r"b\.jsonl line 61 has no text in 'text'.*corpus\.on_damaged=skip"):
        gather(config, context)
    made = gather(replace(config, on_damaged="skip"), context)
    assert (made.skipped_files, made.documents + made.heldout_documents) == (1, 100)
