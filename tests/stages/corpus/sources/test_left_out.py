"""What a folder of text holds that is no text, and links that lead back."""

import glob
import json
from pathlib import Path

import fsspec
import pytest

from stages.corpus.checks import identity
from stages.corpus.config import CorpusConfig
from stages.corpus.sources.files import find, look
from stages.errors import InputError
from stages.storage import Folder

MARK = "0123456789abcdef"


def _write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"text": "Some text."}\n')
    return folder


def _names(*paths: object, root: Path | None = None) -> list[str]:
    return [file.name for file in find(tuple(map(str, paths)), root and Folder(str(root)))]


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("pattern", ["", "/**/*.txt", "/**"])
def test_find_link_that_leads_back_does_not_multiply_the_files(tmp_path: Path, scheme: str, pattern: str) -> None:
    folder = _write(tmp_path / "in", "z.txt", "zsub/b.txt")
    (folder / "latest").symlink_to(".")
    (folder / "zsub/up").symlink_to("../zsub")
    (folder / "aaa").symlink_to("zsub")
    assert _names(f"{scheme}{folder}{pattern}") == ["z.txt", "zsub/b.txt"]
    assert len(identity(CorpusConfig(paths=(f"{scheme}{folder}{pattern}",)))) == 2


def test_find_file_by_several_names_is_taken_once_by_its_own(tmp_path: Path) -> None:
    folder = _write(tmp_path / "in", "m.txt", "sub/n.txt")
    (folder / "a.txt").symlink_to("m.txt")
    (folder / "b").symlink_to("sub")
    (tmp_path / "elsewhere").symlink_to("in")
    assert _names(folder) == _names(f"{folder}/**/*.txt") == ["m.txt", "sub/n.txt"]
    assert _names(f"{folder}/*/*.txt") == ["sub/n.txt"]
    assert _names(folder, f"{tmp_path}/elsewhere", f"file://{folder}/m.txt") == ["m.txt", "sub/n.txt"]
    assert _names(f"{tmp_path}/elsewhere") == ["m.txt", "sub/n.txt"]


def test_find_links_to_what_lies_elsewhere_are_followed_under_their_names(tmp_path: Path) -> None:
    _write(tmp_path / "far", "blob", "set/c.txt")
    folder = _write(tmp_path / "in", "m.txt")
    (folder / "a.txt").symlink_to("../far/blob")
    (folder / "s").symlink_to("../far/set")
    assert _names(folder) == _names(f"{folder}/**/*.txt") == ["a.txt", "m.txt", "s/c.txt"]


@pytest.mark.parametrize(
    "pattern",
    [
        "**/*.txt",
        "**",
        "*/**/*.txt",
        "s*/**/d.*",
        "**/sub/*",
        "sub/**/*.txt",
        "**/deep/**/*",
        "*.txt",
        "**/?.txt",
        "a/**/",
    ],
)
def test_find_without_links_means_what_pythons_glob_means(tmp_path: Path, pattern: str) -> None:
    folder = _write(tmp_path, "a.txt", "sub/c.txt", "sub/deep/d.jsonl", "sub/deep/e.txt", "other/sub/f.txt", ".h/x.txt")
    expected = [path for path in glob.glob(f"{folder}/{pattern}", recursive=True) if Path(path).is_file()]
    try:
        assert sorted(file.uri for file in find((f"{folder}/{pattern}",))) == sorted(set(expected))
    except InputError:
        assert expected == []


HIDDEN = (".a.txt", ".git/b.txt", "_delta_log/0.json", "_delta_log/1.checkpoint.parquet", "_temporary/0/c.txt")


def test_look_folder_passes_over_hidden_files_and_table_logs_and_counts_them(tmp_path: Path) -> None:
    folder = _write(tmp_path / "in", "m.txt", "_mine/n.txt", "_o.txt", "sub/_temporary/p.txt", *HIDDEN)
    for path in (folder, f"{folder}/**", f"file://{folder}"):
        found = look((str(path),))
        assert [file.name for file in found.files] == ["_mine/n.txt", "_o.txt", "m.txt"]
        left = [
            ".a.txt is hidden.",
            ".git is hidden.",
            "_delta_log is the log of a Delta table; files that it has removed are read too.",
        ]
        left += ["_temporary is an unfinished writer's.", "sub/_temporary is an unfinished writer's."]
        assert sorted(found.left_out) == sorted(f"{folder}/{line}" for line in left)


def test_look_store_passes_over_the_same(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("m.txt", *HIDDEN, f"out/corpus/{MARK}/train/t.txt", f"out/corpus/{MARK}/record.json"):
        store.pipe(f"/left/{name}", b"text")
    for path in ("memory://left", "memory://left/**", "memory://left/**/*.txt"):
        found = look((path,))
        assert [file.name for file in found.files] == ["m.txt"]
        assert f"memory://left/out/corpus/{MARK} is what a run made." in found.left_out
    store.rm(f"/left/out/corpus/{MARK}/record.json")  # a run that was killed
    assert [file.name for file in find(("memory://left",))] == ["m.txt", f"out/corpus/{MARK}/train/t.txt"]
    assert [file.name for file in find(("memory://left",), Folder("memory://left/out"))] == ["m.txt"]


def test_find_what_is_spelled_out_is_meant(tmp_path: Path) -> None:
    folder = _write(tmp_path / "in", "m.txt", *HIDDEN)
    assert _names(f"{folder}/.a.txt") == [".a.txt"]
    assert _names(f"{folder}/.git") == ["b.txt"]
    assert _names(f"{folder}/.*.txt") == [".a.txt"]
    assert _names(f"{folder}/**/_temporary/**/*.txt") == ["_temporary/0/c.txt"]
    with pytest.raises(InputError, match=r"matches only what is left out: .*/\.a\.txt is hidden"):
        _names(_write(tmp_path / "all", ".a.txt"))


def test_look_folder_with_data_of_another_format_counts_it(tmp_path: Path) -> None:
    folder = _write(tmp_path / "in", "m.txt", "a.txt.bz2", "sub/b.ZIP", "c.xml.gz", "notes.md")
    for path in (folder, f"file://{folder}"):
        found = look((str(path),))
        assert [file.name for file in found.files] == ["m.txt"]
        told = [f"{folder}/{name} is of a format that is not read; convert it." for name in ("a.txt.bz2", "c.xml.gz")]
        assert found.left_out == [*told, f"{folder}/sub/b.ZIP is of a format that is not read; convert it."]


def test_find_json_beside_other_files_is_about_them_and_alone_it_is_text(tmp_path: Path) -> None:
    folder = _write(tmp_path / "in", "a.json", "b.tsv", "sub/c.json.gz")
    assert _names(folder) == ["a.json", "b.tsv", "sub/c.json.gz"]
    _write(folder, "d.jsonl")
    assert _names(folder) == ["d.jsonl"]
    assert len(look((str(folder),)).left_out) == 3
    assert _names(f"{folder}/*.json", folder) == ["a.json", "d.jsonl"]


def _run(work: Path, finished: bool) -> None:
    _write(work, f"corpus/{MARK}/train/part.txt", f"teacher/{MARK}/vocab.txt", "mlartifacts/1/requirements.txt")
    (work / "run.json").write_text(json.dumps({"config": "config.yaml", "mlflow_run_ids": []}))
    if finished:
        for stage in ("corpus", "teacher"):
            (work / stage / MARK / "record.json").write_text("{}")


@pytest.mark.parametrize("finished", [True, False])
def test_find_what_runs_made_is_never_read_as_corpus(tmp_path: Path, finished: bool) -> None:
    folder = _write(tmp_path / "in", "m.txt", f"{MARK}/hashed.txt", f"by/hash/{MARK}/n.txt")
    before = _names(folder)
    _run(folder / "runs/mine", finished)
    assert (
        _names(folder)
        == _names(f"{folder}/**/*.txt")
        == before
        == [f"{MARK}/hashed.txt", f"by/hash/{MARK}/n.txt", "m.txt"]
    )
    _run(folder, finished)  # a run whose workdir is the folder with the text
    assert _names(folder) == _names(folder, root=folder) == before


def test_find_storage_of_this_run_is_never_read_even_half_written(tmp_path: Path) -> None:
    folder = _write(tmp_path / "in", "m.txt", f"out/corpus/{MARK}/train/part.txt")
    assert _names(folder, root=folder / "out") == _names(f"{folder}/**/*.txt", root=folder / "out") == ["m.txt"]
    with pytest.raises(InputError, match=r"only what is left out: .* is what a run made"):
        _names(f"{folder}/out/corpus/*/train/*", root=folder / "out")


def test_find_another_runs_corpus_is_read_where_it_is_named(tmp_path: Path) -> None:
    _run(tmp_path / "runs/old", finished=True)
    assert _names(f"{tmp_path}/runs/old/corpus/{MARK}/train") == ["part.txt"]
    assert _names(f"{tmp_path}/runs/old/corpus/*/train/*.txt") == [f"{MARK}/train/part.txt"]
