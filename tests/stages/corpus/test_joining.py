"""Rows that are sentences, put together: the counts on a small file like BookCorpus, whatever reads it."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.corpus.config import CorpusConfig
from stages.corpus.formats.ranges import UNIT_BYTES
from stages.corpus.joining import joined
from stages.corpus.sources import file_tasks
from stages.corpus.stage import gather
from stages.errors import ConfigError
from stages.storage import Folder

RANDOM = random.Random(3)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["".join(RANDOM.choices(LETTERS, k=RANDOM.randint(2, 9))) for _ in range(500)]
SENTENCES = [f"{' '.join(RANDOM.choices(WORDS, k=RANDOM.randint(1, 20)))} {number} ." for number in range(130_000)]
"""As BookCorpus has them: 1 to 20 words, 65 characters on average, so that the file has three units."""
LONG = 2000


def gathered(folder: Path, *paths: Path, **fields: object) -> Corpus:
    config = CorpusConfig(paths=tuple(map(str, paths)), **{"heldout_fraction": 0.05, "join_rows": LONG, **fields})
    return gather(config, StageContext(folder=Folder(str(folder)), seed=0))


def texts(corpus: Corpus, shards: tuple[str, ...]) -> list[str]:
    return [text for name in shards for text in pq.read_table(corpus.folder.path / name).column("text").to_pylist()]


def six_lines(units: list[list[str]]) -> list[str]:
    """Documents of the rows of each unit, by the words of the field."""
    documents = [[""] for _ in units]
    for made, rows in zip(documents, units, strict=True):
        for row in rows:
            made[-1] = f"{made[-1]} {row}".strip()
            made += [""] if len(made[-1]) >= LONG else []
    return [text for made in documents for text in made if text]


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A .jsonl file, and the documents that are to come of it."""
    file = tmp_path_factory.mktemp("books") / "books.jsonl"
    units: dict[int, list[str]] = {}
    lines, begin = [json.dumps({"text": sentence}) + "\n" for sentence in SENTENCES], 0
    for sentence, line in zip(SENTENCES, lines, strict=True):
        units.setdefault(begin // UNIT_BYTES, []).append(sentence)
        begin += len(line)
    file.write_text("".join(lines))
    assert len(units) == 3
    return file, six_lines(list(units.values()))


def test_join_rows_gives_few_long_documents_and_the_same_ones_for_any_number_of_tasks(
    ray_session: None, tmp_path: Path, books: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, expected = books
    made = [gathered(tmp_path / "split", file)]
    assert len(made[0].shards) >= 3
    monkeypatch.setattr(file_tasks, "MOST_TASK_BYTES", 1 << 30)
    monkeypatch.setattr(file_tasks, "TASK_BYTES", 1 << 30)
    made.append(gathered(tmp_path / "whole", file))
    assert made[0].digest == made[1].digest
    for corpus in made:
        train, heldout = texts(corpus, corpus.shards), texts(corpus, corpus.heldout_shards)
        held = set(heldout)
        assert [text for text in expected if text not in held] == train
        assert [text for text in expected if text in held] == heldout
        assert (corpus.documents, corpus.heldout_documents) == (len(train), len(heldout))
        assert corpus.documents + corpus.heldout_documents == len(expected) < len(SENTENCES) / 25
    assert 0.02 < made[0].heldout_documents / len(expected) < 0.09
    average = sum(map(len, expected)) / len(expected)
    assert LONG * 0.99 < average < LONG * 1.05


def test_join_rows_loses_no_sentence_and_keeps_neighbours_on_one_side(
    ray_session: None, tmp_path: Path, books: tuple[Path, list[str]]
) -> None:
    corpus = gathered(tmp_path / "out", books[0])
    sides = [texts(corpus, shards) for shards in (corpus.shards, corpus.heldout_shards)]
    side_of = {}
    for side, documents in enumerate(sides):
        for sentence in " ".join(documents).split(" ."):
            if number := sentence.rpartition(" ")[2]:
                side_of[int(number)] = side
    assert sorted(side_of) == list(range(len(SENTENCES)))
    apart = sum(side_of[number] != side_of[number + 1] for number in range(len(SENTENCES) - 1))
    assert apart <= 2 * len(sides[1]), "a held-out document has two ends, whatever it holds"


@pytest.mark.parametrize("name", ["a.txt", "a.parquet", "a.txt.gz", "set"])
def test_join_rows_in_any_format_is_what_six_lines_give(ray_session: None, tmp_path: Path, name: str) -> None:
    some = SENTENCES[:3000]
    if name == "a.parquet":
        pq.write_table(pa.table({"text": some}), tmp_path / name, row_group_size=100)
    elif name == "set":
        Dataset.from_dict({"text": some}).save_to_disk(tmp_path / name)
    else:
        data = "\n".join(some).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    source = "datasets" if name == "set" else "files"
    corpus = gathered(tmp_path / "out", tmp_path / name, source=source, heldout_fraction=0.0)
    assert texts(corpus, corpus.shards) == six_lines([some])


def test_join_rows_of_one_path_leaves_the_documents_of_others(ray_session: None, tmp_path: Path) -> None:
    for name in ("articles", "books"):
        (tmp_path / f"{name}.txt").write_text("\n".join(f"{name} {one}" for one in SENTENCES[:500]))
    paths = [tmp_path / "articles.txt", tmp_path / "books.txt"]
    corpus = gathered(tmp_path / "out", *paths, join_paths=(str(paths[1]),), heldout_fraction=0.0, min_characters=1)
    expected = [f"articles {one}" for one in SENTENCES[:500]] + six_lines([[f"books {one}" for one in SENTENCES[:500]]])
    assert texts(corpus, corpus.shards) == expected


def test_joined_passes_over_empty_rows_and_begins_anew_with_a_unit() -> None:
    rows = [(0, "ab"), (0, "  "), (0, " cd\n"), (0, "e"), (1, "fg"), (1, "")]
    assert list(joined(rows, 5)) == ["ab cd", "e", "fg"]
    assert list(joined([], 5)) == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"join_rows": 5}, r"corpus\.join_rows is 5 but must be 0, or characters from corpus\.min_characters \(20\)"),
        ({"join_rows": 1 << 21}, r"corpus\.join_rows"),
        ({"join_rows": -1}, r"corpus\.join_rows"),
    ],
)
def test_config_of_joining_out_of_range_names_the_field(fields: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        CorpusConfig(**fields)


def test_config_joins_a_data_set_by_its_name_whatever_commit_a_run_has_filled_in() -> None:
    config = CorpusConfig(
        source="datasets", paths=("a/wiki:en@main", "b/books@f00"), join_rows=100, join_paths=("b/books",)
    )
    assert (config.joined, config.notice) == (("b/books@f00",), "")


def test_paths_to_be_joined_that_are_not_read_are_said(ray_session: None, tmp_path: Path) -> None:
    """A recipe's own paths, where others were given in their place."""
    (tmp_path / "a.txt").write_text("\n".join(SENTENCES[:100]))
    told: list[str] = []
    config = CorpusConfig(paths=(f"{tmp_path}/a.txt",), join_rows=LONG, join_paths=("owner/books",), min_characters=1)
    made = gather(config, StageContext(folder=Folder(f"{tmp_path}/out"), seed=0, on_notice=told.append))
    assert made.documents + made.heldout_documents == 100
    assert told == [
        "corpus: join_paths names owner/books, which is none of corpus.paths; the rows of none of them are joined."
    ]
