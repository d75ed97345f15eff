"""The corpus stage on files: what is kept, how it is split, and that nothing about the machine shows in it."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from ray.data import DataContext

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.corpus.checks import check, identity
from stages.corpus.config import CorpusConfig
from stages.corpus.documents import document_id, normalise
from stages.corpus.sources import file_tasks, tasks
from stages.corpus.stage import gather
from stages.errors import ConfigError, InputError
from stages.storage import Folder

TEXTS = [f"This is document number {number}, and it says  nothing more." for number in range(400)]


def _gather(folder: Path, *paths: Path | str, **fields: object) -> Corpus:
    config = CorpusConfig(paths=tuple(map(str, paths)), **{"heldout_fraction": 0.1, **fields})
    return gather(config, StageContext(folder=Folder(str(folder)), seed=0))


def _read(corpus: Corpus, shards: tuple[str, ...]) -> list[str]:
    rows = [row for shard in shards for row in pq.read_table(corpus.folder.path / shard).to_pylist()]
    assert all(row["id"] == document_id(row["text"]) for row in rows)
    return [row["text"] for row in rows]


def _sides(corpus: Corpus) -> tuple[list[str], list[str]]:
    return _read(corpus, corpus.shards), _read(corpus, corpus.heldout_shards)


def _write_lines(file: Path, texts: list[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(texts) + "\n")
    return file


def test_gather_all_formats_together_keeps_every_document(ray_session: None, tmp_path: Path) -> None:
    _write_lines(tmp_path / "in/a.txt", [*TEXTS[:100], "", "short"])
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS[100:200])
    (tmp_path / "in/b.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "in/c.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in TEXTS[200:300]))
    pq.write_table(pa.table({"text": TEXTS[300:]}), tmp_path / "in/d.parquet")
    reported: list[tuple[float, float, str]] = []
    context = StageContext(
        folder=Folder(str(tmp_path / "out")),
        seed=0,
        on_progress=lambda done, total, unit: reported.append((done, total, unit)),
    )
    made = gather(CorpusConfig(paths=(f"{tmp_path}/in/*",), heldout_fraction=0.1), context)
    train, heldout = _sides(made)
    assert sorted(train + heldout) == sorted(normalise(text) for text in TEXTS)
    assert (made.documents, made.heldout_documents) == (len(train), len(heldout))
    assert (made.characters, made.heldout_characters) == (sum(map(len, train)), sum(map(len, heldout)))
    assert 20 < len(heldout) < 60
    assert reported[-1] == (4, 4, "files")


def test_gather_split_is_the_same_in_any_files_and_order(ray_session: None, tmp_path: Path) -> None:
    one = _gather(tmp_path / "one", _write_lines(tmp_path / "whole.txt", TEXTS))
    parts = [_write_lines(tmp_path / f"parts/{k}.txt", TEXTS[::-1][k::7]) for k in range(7)]
    seven = _gather(tmp_path / "seven", *parts)
    assert [sorted(side) for side in _sides(one)] == [sorted(side) for side in _sides(seven)]


def test_gather_copies_of_a_document_fall_on_one_side(ray_session: None, tmp_path: Path) -> None:
    copies = [text.replace("  ", blank) for text in TEXTS[:100] for blank in (" ", "   ", "\t")]
    train, heldout = _sides(_gather(tmp_path / "out", _write_lines(tmp_path / "in.txt", copies)))
    assert len(train) + len(heldout) == 300
    assert heldout
    assert not set(train) & set(heldout)


def test_gather_many_tasks_and_shards_keep_order_and_digest(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(12):  # of unequal sizes, so that later tasks end first
        _write_lines(tmp_path / f"in/{k:02d}.txt", [f"{text} In file {k}." for text in TEXTS * (40 if k == 0 else 1)])
    for module, name in ((file_tasks, "TASK_BYTES"), (tasks, "SHARD_CHARACTERS")):
        monkeypatch.setattr(module, name, 1 << 16)
        monkeypatch.setattr(module, f"MOST_{name}", 1 << 16)
    made = [_gather(tmp_path / side, tmp_path / "in", min_characters=1) for side in ("a", "b")]
    assert len(made[0].shards) > 12
    assert made[0].shards == made[1].shards
    assert made[0].digest == made[1].digest
    files = sorted((tmp_path / "in").iterdir())
    whole = [normalise(line) for file in files for line in file.read_text().splitlines()]
    train = set(_sides(made[0])[0])
    assert _sides(made[0])[0] == [text for text in whole if text in train]


def test_gather_again_leaves_nothing_of_the_last_time(ray_session: None, tmp_path: Path) -> None:
    (tmp_path / "out/train").mkdir(parents=True)
    (tmp_path / "out/train/part-00099-000.parquet").write_bytes(b"half of a crash")
    made = _gather(tmp_path / "out", _write_lines(tmp_path / "in.txt", TEXTS))
    assert sorted(f"train/{file.name}" for file in (tmp_path / "out/train").iterdir()) == list(made.shards)


def test_gather_leaves_ray_datas_settings_as_they_were(ray_session: None, tmp_path: Path) -> None:
    context = DataContext.get_current()
    before = (context.execution_options.preserve_order, context.enable_progress_bars)
    _gather(tmp_path / "out", _write_lines(tmp_path / "in.txt", TEXTS))
    assert DataContext.get_current() is context
    assert (context.execution_options.preserve_order, context.enable_progress_bars) == before


def test_gather_document_per_file_takes_it_whole(ray_session: None, tmp_path: Path) -> None:
    for k in range(3):
        _write_lines(tmp_path / f"in/{k}.txt", TEXTS[k::3])
    made = _gather(tmp_path / "out", tmp_path / "in", document_per="file", heldout_fraction=0.0)
    assert _sides(made) == ([normalise(" ".join(TEXTS[k::3])) for k in range(3)], [])


def test_gather_saved_data_set_reads_its_split(ray_session: None, tmp_path: Path) -> None:
    Dataset.from_dict({"body": TEXTS}).save_to_disk(tmp_path / "set")
    made = _gather(tmp_path / "out", tmp_path / "set", source="datasets", text_column="body")
    train, heldout = _sides(made)
    assert sorted(train + heldout) == sorted(map(normalise, TEXTS))


def test_gather_bad_text_deep_in_a_file_surfaces_as_input_error(ray_session: None, tmp_path: Path) -> None:
    good = ("\n".join(TEXTS * 100) + "\n").encode()
    (tmp_path / "in.txt").write_bytes(good + b"caf\xe9\n")
    check(CorpusConfig(paths=(str(tmp_path / "in.txt"),)))  # the probe reads the first bytes only
    with pytest.raises(InputError, match=rf"in\.txt is not UTF-8: byte 0xe9 at offset {len(good) + 3:,}"):
        _gather(tmp_path / "out", tmp_path / "in.txt")


def _write_shards(folder: Path) -> list[Path]:
    """Four files with 100 texts each; the second has lost its end, the third a page, and the fourth a line."""
    folder.mkdir()
    files = [folder / name for name in ("a.parquet", "b.parquet", "c.parquet", "d.jsonl")]
    for place, file in enumerate(files[:3]):
        texts = TEXTS[100 * place : 100 * place + 100]
        pq.write_table(pa.table({"text": texts}), file, row_group_size=20, compression="gzip")
    files[1].write_bytes(files[1].read_bytes()[:-300])
    good = bytearray(files[2].read_bytes())
    good[len(good) // 2 : len(good) // 2 + 40] = bytes(40)
    files[2].write_bytes(good)
    rows = [json.dumps({"text": text}) for text in TEXTS[300:]]
    files[3].write_text("\n".join([*rows[:60], rows[60][:-9], *rows[61:]]))
    return files


def test_check_parquet_without_its_end_is_refused_by_name_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(40):
        pq.write_table(pa.table({"text": TEXTS[:5]}), tmp_path / f"in/{number:02d}.parquet")
    check(CorpusConfig(paths=(str(tmp_path / "in"),)))
    file = tmp_path / "in/17.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"cannot read .*/17\.parquet: .*corpus\.on_damaged=skip leaves it out"):
        check(CorpusConfig(paths=(str(tmp_path / "in"),)))
    check(CorpusConfig(paths=(str(tmp_path / "in"),), on_damaged="skip"))


def test_gather_damaged_shard_is_refused_by_name(ray_session: None, tmp_path: Path) -> None:
    a, _, c, d = _write_shards(tmp_path / "in")
    check(CorpusConfig(paths=(str(a), str(c), str(d))))  # nothing that a footer or a first line tells
    with pytest.raises(InputError, match=r"cannot read .*/c\.parquet: .*corpus\.on_damaged=skip leaves it out"):
        _gather(tmp_path / "out", a, c)
    with pytest.raises(InputError, match=r"d\.jsonl line 61 is not JSON: .*corpus\.on_damaged=skip leaves it out"):
        _gather(tmp_path / "out", a, d)


def test_gather_damaged_shards_are_skipped_whole_and_counted_by_choice(ray_session: None, tmp_path: Path) -> None:
    _write_shards(tmp_path / "in")
    (tmp_path / "in/e.txt").write_bytes(b"")
    told: list[str] = []
    config = CorpusConfig(paths=(f"{tmp_path}/in",), heldout_fraction=0.1, on_damaged="skip")
    made = gather(config, StageContext(folder=Folder(f"{tmp_path}/out"), seed=0, on_notice=told.append))
    assert told == [f"corpus: 4 damaged files were skipped; {tmp_path}/out/skipped.txt says which and why."]
    train, heldout = _sides(made)
    assert sorted(train + heldout) == sorted(map(normalise, TEXTS[:100])), "of a broken file not even its beginning"
    assert made.skipped_files == 4
    said = (tmp_path / "out/skipped.txt").read_text().splitlines()
    assert len(said) == 4
    for name in ("b.parquet", "c.parquet", "d.jsonl line 61", "e.txt is empty"):
        assert sum(name in line for line in said) == 1, name
    alone = _gather(tmp_path / "alone", tmp_path / "in/a.parquet", on_damaged="skip")
    assert (alone.digest, alone.skipped_files) == (made.digest, 0)
    assert not (tmp_path / "alone/skipped.txt").exists()


def test_gather_nothing_but_damaged_files_is_input_error(ray_session: None, tmp_path: Path) -> None:
    _write_shards(tmp_path / "in")
    (tmp_path / "in/a.parquet").unlink()
    with pytest.raises(InputError, match=r"the corpus is empty.* 3 damaged files were skipped"):
        _gather(tmp_path / "out", tmp_path / "in", on_damaged="skip")
    (tmp_path / "none.txt").write_bytes(b"")
    with pytest.raises(InputError, match=r"the corpus is empty.* 1 damaged files were skipped"):
        _gather(tmp_path / "out", tmp_path / "none.txt", on_damaged="skip")


def test_gather_wrong_column_is_refused_also_where_damage_is_skipped(ray_session: None, tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": TEXTS}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'text'"):
        check(CorpusConfig(paths=(str(tmp_path / "a.parquet"),), on_damaged="skip"))
    with pytest.raises(InputError, match="no column 'text'"):
        _gather(tmp_path / "out", tmp_path / "a.parquet", on_damaged="skip")


def test_gather_fault_in_a_task_surfaces_as_it_is(ray_session: None, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="out"):
        _gather(tmp_path / "out", _write_lines(tmp_path / "in.txt", TEXTS))


def test_gather_nothing_left_is_input_error(ray_session: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the corpus is empty.*1000 characters"):
        _gather(tmp_path / "out", _write_lines(tmp_path / "in.txt", TEXTS), min_characters=1000)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", "a.txt is empty"),
        ("a.txt", "naïve text".encode("latin-1"), r"a\.txt is not UTF-8: byte 0xef at offset 2"),
        ("a.txt", "in UTF-16".encode("utf-16"), r"a\.txt is not UTF-8: byte 0xff at offset 0"),
        ("a.csv", b"title,body\nx,y\n", "no column 'text'.*title, body"),
        ("a.jsonl", b'{"body": "x"}\n', "no column 'text'.*body"),
        ("a.docx", b"x", "is none of"),
    ],
)
def test_check_bad_file_is_one_sentence_without_ray(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence) as raised:
        check(CorpusConfig(paths=(str(tmp_path / name),)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("source", ["files", "datasets"])
def test_check_no_paths_names_the_field(source: str) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.paths is \(\)"):
        check(CorpusConfig(source=source))


@pytest.mark.parametrize("fields", [{"min_characters": 0}, {"heldout_fraction": 0.6}, {"heldout_fraction": -0.1}])
def test_config_out_of_range_names_the_field(fields: dict) -> None:
    (name,) = fields
    with pytest.raises(ConfigError, match=rf"corpus\.{name}"):
        CorpusConfig(**fields)


def test_identity_changes_with_content_and_not_with_the_folder(tmp_path: Path) -> None:
    import os

    for place in ("x", "y"):
        os.utime(_write_lines(tmp_path / place / "in/a.txt", TEXTS), ns=(10**18, 10**18))
    x, y = (identity(CorpusConfig(paths=(f"{tmp_path}/{place}/in/*.txt",))) for place in ("x", "y"))
    assert x == y == {"0/a.txt": f"{(tmp_path / 'x/in/a.txt').stat().st_size}:{10**18}"}
    _write_lines(tmp_path / "x/in/a.txt", TEXTS[1:])
    assert identity(CorpusConfig(paths=(f"{tmp_path}/x/in/*.txt",))) != y


@pytest.mark.parametrize("language", ["English", "", "e", "en_", "zh TW"])
def test_corpus_config_a_language_that_is_none_is_refused_by_its_field(language: str) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.language is .*such as en, de or zh-TW"):
        CorpusConfig(language=language)


@pytest.mark.parametrize("language", ["en", "zh-TW", "zh_Hans", "gsw"])
def test_corpus_config_takes_the_codes_of_languages(language: str) -> None:
    assert CorpusConfig(language=language).language == language
