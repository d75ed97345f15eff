"""Data sets of the `datasets` library: saved folders, streams, and a hub out of reach."""

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, load_dataset

from stages.corpus.checks import identity
from stages.corpus.config import CorpusConfig
from stages.corpus.sources import hub
from stages.errors import InputError

TEXTS = [f"document {number} of the data set" for number in range(1000)]


def _all(parts: list[hub.Part], column: str = "text") -> list[str]:
    return [text for part in parts for text in hub.documents(part, column)]


def test_parts_of_a_saved_folder_cover_it_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DatasetDict(train=Dataset.from_dict({"text": [*TEXTS, None], "n": range(1001)})).save_to_disk(tmp_path / "set")
    monkeypatch.setattr(hub, "TASK_BYTES", 10_000)
    parts = hub.parts(hub.resolve(str(tmp_path / "set"), "", "train"), "text")
    assert len(parts) > 2
    assert _all(parts) == TEXTS


def test_parts_of_a_stream_cover_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of .jsonl files stands in for the hub: `load_dataset` streams both the same way."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for place in range(3):
        Dataset.from_dict({"text": TEXTS[place::3]}).to_json(tmp_path / "data" / f"{place}.jsonl")
    data = hub.DataSet(path=str(tmp_path / "data"), name="", split="train", revision="main")
    parts = hub.parts(data, "text")
    assert len(parts) == 3
    expected = load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / "cache"))["text"]
    assert _all(parts) == list(expected)


@pytest.mark.parametrize(
    ("split", "column", "sentence"),
    [("test", "text", "no split 'test'.*train"), ("train", "body", "no column 'body'.*text"), ("train", "n", "int")],
)
def test_saved_folder_with_wrong_names_says_which_there_are(
    tmp_path: Path, split: str, column: str, sentence: str
) -> None:
    DatasetDict(train=Dataset.from_dict({"text": TEXTS, "n": range(1000)})).save_to_disk(tmp_path / "set")
    with pytest.raises(InputError, match=sentence):
        _all(hub.parts(hub.resolve(str(tmp_path / "set"), "", split), column), column)


def test_resolve_folder_without_a_saved_set_points_to_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.source to files"):
        hub.resolve(str(tmp_path), "", "train")


def test_identity_of_a_saved_folder_changes_with_its_content_and_not_with_its_place(tmp_path: Path) -> None:
    for place, texts in (("a/set", TEXTS), ("b/set", TEXTS), ("c/set", TEXTS[:-1])):
        Dataset.from_dict({"text": texts}).save_to_disk(tmp_path / place)
    one, same, other = (hub.identity(str(tmp_path / place / "set"), "", "train") for place in "abc")
    assert one == same != other


def test_hub_out_of_reach_is_said_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"the hub does not answer for data set 'some/thing'.*save_to_disk"):
        hub.resolve("some/thing:subset", "", "train")
    assert time.monotonic() - begun < 10
    assert hub.identity("some/thing", "", "train") == {"some/thing/train": hub.UNREACHABLE}


def test_resolve_name_no_hub_could_have_is_refused() -> None:
    with pytest.raises(InputError, match="neither a folder nor a data set"):
        hub.resolve("no//such name", "", "train")


def test_identity_of_two_saved_sets_in_folders_of_one_name_is_two(tmp_path: Path) -> None:
    """`wiki/train` and `books/train` had one key, and what was rebuilt in the first one went unseen."""
    for name in ("wiki", "books"):
        Dataset.from_dict({"text": [f"{name} {text}" for text in TEXTS]}).save_to_disk(tmp_path / name / "train")
    paths = tuple(f"{tmp_path}/{name}/train" for name in ("wiki", "books"))
    config = CorpusConfig(source="datasets", paths=paths)
    before = identity(config)
    assert len(before) == 2
    assert len(set(before.values())) == 2
    Dataset.from_dict({"text": TEXTS[1:]}).save_to_disk(tmp_path / "new")
    (tmp_path / "wiki/train").rename(tmp_path / "old")
    (tmp_path / "new").rename(tmp_path / "wiki/train")
    assert identity(config) != before
    alone = CorpusConfig(source="datasets", paths=paths[:1])
    assert identity(alone) == hub.identity(paths[0], "", "train"), "one alone is named as it always was"


def test_parts_of_one_giant_row_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Dataset.from_dict({"text": ["x" * 100_000]}).save_to_disk(tmp_path / "one")
    Dataset.from_dict({"text": ["x" * 100_000, "a", "b"]}).save_to_disk(tmp_path / "three")
    monkeypatch.setattr(hub, "TASK_BYTES", 10_000)
    assert _all(hub.parts(hub.resolve(str(tmp_path / "one"), "", "train"), "text")) == ["x" * 100_000]
    assert _all(hub.parts(hub.resolve(str(tmp_path / "three"), "", "train"), "text")) == ["x" * 100_000, "a", "b"]


def test_saved_folder_with_bytes_is_read_as_utf8(tmp_path: Path) -> None:
    Dataset.from_dict({"text": ["naïve".encode(), None]}).save_to_disk(tmp_path / "set")
    assert _all(hub.parts(hub.resolve(str(tmp_path / "set"), "", "train"), "text")) == ["naïve"]
    Dataset.from_dict({"text": ["naïve".encode("latin-1")]}).save_to_disk(tmp_path / "bad")
    with pytest.raises(InputError, match="bytes that are not UTF-8"):
        _all(hub.parts(hub.resolve(str(tmp_path / "bad"), "", "train"), "text"))


def test_parts_of_a_streams_large_parquet_files_are_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands in for the hub. The hub says of no size: some `PARTS` tasks come of the three files."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub, "PARTS", 12)
    (tmp_path / "data").mkdir()
    for place, group in enumerate((100, 50, 300)):
        table = pa.table({"text": TEXTS[place * 300 : place * 300 + 300]})
        pq.write_table(table, tmp_path / "data" / f"{place}.parquet", row_group_size=group)
    data = hub.DataSet(path=str(tmp_path / "data"), name="", split="train", revision="main")
    parts = hub.parts(data, "text")
    found = [list(hub.documents(part, "text")) for part in parts]
    assert [text for part in found for text in part] == TEXTS[:900]
    assert [len(part) for part in found] == [100, 100, 100, 100, 100, 100, 300, 0, 0]
