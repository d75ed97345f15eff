"""Tasks out of data sets on the hub: classes by name, the commit, and a hub out of reach."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from fake_hub import FakeHub, fake_hub

from stages.errors import InputError
from stages.tasks.data.load import UNREACHABLE, identity, load
from stages.tasks.data.specs import task_of

NOBODY = "http://127.0.0.1:9"


def answering(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", url)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that this process knows as the only one, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    with fake_hub() as hub:
        answering(hub.url, monkeypatch)
        yield hub


def push(hub: FakeHub, folder: Path, name: str, parts: dict[str, Dataset]) -> str:
    """A repository with a Parquet file for each part, as `datasets` writes it."""
    for part, rows in parts.items():
        path = folder / f"{part}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(path)
    return hub.push("datasets", name, folder)


def pairs(labels: list[int], names: list[str]) -> Dataset:
    features = Features(sentence1=Value("string"), sentence2=Value("string"), label=ClassLabel(names=names))
    texts = [f"text {number}" for number in range(len(labels))]
    return Dataset.from_dict({"sentence1": texts, "sentence2": texts[::-1], "label": labels}, features=features)


def test_task_of_the_hub_has_its_classes_by_name_and_its_commit(hub: FakeHub, tmp_path: Path) -> None:
    names = ["not_equivalent", "equivalent"]
    splits = {"mrpc/train": pairs([0, 1, 1, -1], names), "mrpc/validation": pairs([1, 0], names)}
    commit = push(hub, tmp_path / "glue", "nyu-mll/glue", splits)
    task = task_of("mrpc")
    found = load(task)
    assert found.classes == ("equivalent", "not_equivalent")
    assert (found.train.first, found.train.second) == (("text 0", "text 1", "text 2"), ("text 3", "text 2", "text 1"))
    assert [found.classes[label] for label in found.train.labels] == ["not_equivalent", "equivalent", "equivalent"]
    assert found.notes == ("nyu-mll/glue (mrpc/train-*): row 4 left out, being incomplete.",)  # -1 is no label
    assert [found.classes[label] for label in found.dev.labels] == ["equivalent", "not_equivalent"]
    assert identity(task) == {"nyu-mll/glue/mrpc/train-*": commit}


def test_revision_is_kept_when_the_hub_moves_on(hub: FakeHub, tmp_path: Path) -> None:
    names = ["not_equivalent", "equivalent"]
    old = {"mrpc/train": pairs([0, 1], names), "mrpc/validation": pairs([1, 0], names)}
    commit = push(hub, tmp_path / "old", "nyu-mll/glue", old)
    push(hub, tmp_path / "new", "nyu-mll/glue", {**old, "mrpc/train": pairs([0, 1, 1], names)})
    assert len(load(task_of("mrpc")).train) == 3
    pinned = task_of(f"mrpc:revision={commit}")
    assert len(load(pinned).train) == 2
    assert identity(pinned) == {"nyu-mll/glue/mrpc/train-*": commit}


def test_what_was_read_once_needs_no_hub(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["not_equivalent", "equivalent"]
    splits = {"mrpc/train": pairs([0, 1], names), "mrpc/validation": pairs([1, 0], names)}
    commit = push(hub, tmp_path / "glue", "nyu-mll/glue", splits)
    assert len(load(task_of("mrpc")).train) == 2
    push(hub, tmp_path / "new", "nyu-mll/glue", {**splits, "mrpc/train": pairs([0, 1, 1], names)})
    assert len(load(task_of("mrpc")).train) == 3
    answering(NOBODY, monkeypatch)
    assert len(load(task_of(f"mrpc:revision={commit}")).train) == 2  # and not what was read last
    with pytest.raises(InputError, match=r"does not answer for data set 'nyu-mll/glue'.*data=FOLDER"):
        load(task_of(f"mrpc:revision={'0' * 40}"))


def test_hub_out_of_reach_says_how_to_give_files(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(NOBODY, monkeypatch)
    with pytest.raises(InputError, match=r"does not answer for data set 'nyu-mll/glue'.*data=FOLDER"):
        load(task_of("sst2"))
    assert identity(task_of("sst2")) == {"nyu-mll/glue/sst2/train-*": UNREACHABLE}


def test_revision_that_the_hub_has_not_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    push(hub, tmp_path / "glue", "nyu-mll/glue", {"rte/train": pairs([0, 1], ["a", "b"])})
    with pytest.raises(InputError, match="no data set 'nyu-mll/glue' at 'v9'; correct revision="):
        load(task_of("rte:revision=v9"))
    with pytest.raises(InputError, match=r"nyu-mll/glue has no files rte/validation-\* at [0-9a-f]{40}"):
        load(task_of("rte"))


def test_words_of_the_hub_have_their_tags_by_name(hub: FakeHub, tmp_path: Path) -> None:
    features = Features(tokens=List(Value("string")), ner_tags=List(ClassLabel(names=["O", "B-PER", "I-PER"])))
    rows = Dataset.from_dict({"tokens": [["Ada", "Byron", "wrote"]], "ner_tags": [[1, 2, 0]]}, features=features)
    parts = {"conll2003/train/0": rows, "conll2003/validation/0": rows}
    commit = push(hub, tmp_path / "conll", "eriktks/conll2003", parts)
    found = load(task_of(f"conll2003:revision={commit}"))
    assert found.train.words == (("Ada", "Byron", "wrote"),)
    assert [found.classes[tag] for tag in found.train.labels[0]] == ["B-PER", "I-PER", "O"]


def test_questions_of_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    row = {"id": "1", "question": "Who wrote?", "context": "Ada wrote.", "title": "Ada"}
    rows = Dataset.from_list([{**row, "answers": {"text": ["Ada"], "answer_start": [0]}}])
    push(hub, tmp_path / "squad", "rajpurkar/squad", {"plain_text/train": rows, "plain_text/validation": rows})
    found = load(task_of("squad"))
    assert found.dev.answers == ((("Ada", 0),),)
    assert (found.dev.ids, found.dev.contexts, found.classes) == (("1",), ("Ada wrote.",), ())
