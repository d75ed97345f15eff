"""A corpus that was stopped goes on; one whose files are read in parts is damaged, skipped and counted as any other."""

import json
import os
from pathlib import Path

import pytest

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.corpus.config import CorpusConfig
from stages.corpus.formats.ranges import UNIT_BYTES
from stages.corpus.stage import gather
from stages.errors import InputError
from stages.storage import Folder

ROWS = [
    json.dumps({"text": f"Row {number} of a file that several tasks read. {'word ' * 30}"}) for number in range(70_000)
]


def gathered(folder: Path, told: list[str], **fields: object) -> Corpus:
    config = CorpusConfig(**{"heldout_fraction": 0.1, **fields})
    return gather(config, StageContext(folder=Folder(str(folder)), seed=0, on_notice=told.append))


def test_gather_goes_on_with_the_tasks_that_had_not_ended(ray_session: None, tmp_path: Path) -> None:
    """Its last part is damaged at first, and then mended so that nobody could tell by its size and time."""
    file, out, told = tmp_path / "in.jsonl", tmp_path / "out", []
    file.write_text("\n".join([*ROWS[:-10], ROWS[-10].replace("{", "["), *ROWS[-9:]]))
    assert file.stat().st_size > 3 * UNIT_BYTES
    os.utime(file, ns=(10**18, 10**18))
    with pytest.raises(InputError, match=rf"line {len(ROWS) - 9:,} is not JSON"):
        gathered(out, told, paths=(str(file),))
    ended = {name: (out / "train" / name).stat().st_mtime_ns for name in os.listdir(out / "train")}
    file.write_text("\n".join(ROWS))
    os.utime(file, ns=(10**18, 10**18))
    made = gathered(out, told, paths=(str(file),))
    assert told == ["corpus: 3 of 4 tasks had been finished before and are not run again."]
    kept = [name for name in os.listdir(out / "train") if (out / "train" / name).stat().st_mtime_ns == ended.get(name)]
    assert len(kept) >= 3
    assert {name[:10] for name in kept} == {"part-00000", "part-00001", "part-00002"}
    whole = gathered(tmp_path / "fresh", told, paths=(str(file),))
    assert (made.digest, made.documents, made.shards) == (whole.digest, whole.documents, whole.shards)


def test_gather_again_makes_what_has_gone_or_was_made_of_other_text(ray_session: None, tmp_path: Path) -> None:
    file, out, told = tmp_path / "in.txt", tmp_path / "out", []
    file.write_text("\n".join(ROWS[:2000]))
    first = gathered(out, told, paths=(str(file),))
    (out / first.shards[0]).unlink()
    assert gathered(out, told, paths=(str(file),)).digest == first.digest
    assert (out / first.shards[0]).exists()
    assert told == []
    file.write_text("\n".join(ROWS[:1999]))
    assert gathered(out, told, paths=(str(file),)).digest != first.digest
    assert told == []


def test_gather_split_file_with_damage_is_skipped_whole_and_counted_once(ray_session: None, tmp_path: Path) -> None:
    lines = [*ROWS[:-10], "{", *ROWS[-9:]]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.jsonl").write_text("\n".join(ROWS[:100]))
    paths = (f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl")
    made = gathered(tmp_path / "out", [], paths=paths, on_damaged="skip")
    assert (made.documents + made.heldout_documents, made.skipped_files) == (100, 1)
    said = (tmp_path / "out/skipped.txt").read_text()
    assert said.startswith(f"{tmp_path}/a.jsonl line {len(ROWS) - 9:,} is not JSON")
