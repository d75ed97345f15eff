"""Which files a path means."""

from pathlib import Path

import fsspec
import pytest

from stages.corpus.sources.files import find
from stages.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/deep/d.jsonl", "sub/notes.pdf", "we[i]rd.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["a.txt", "b.txt", "we[i]rd.txt"]),
        ("[ab].txt", ["a.txt", "b.txt"]),
        ("[!a].txt", ["b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("**/*.txt", ["a.txt", "b.txt", "sub/c.txt", "we[i]rd.txt"]),
        ("s*/**/d.*", ["sub/deep/d.jsonl"]),
        ("s**/c.txt", ["sub/c.txt"]),
        ("**.txt", ["a.txt", "b.txt", "we[i]rd.txt"]),
        ("sub/*.txt", ["c.txt"]),
        ("sub", ["c.txt", "deep/d.jsonl"]),
        ("a.txt", ["a.txt"]),
    ],
)
def test_find_on_disk_and_by_uri_agree(tree: Path, scheme: str, pattern: str, names: list[str]) -> None:
    if scheme and "?" in pattern:
        pytest.skip("a URI's ? begins its options")
    found = find((f"{scheme}{tree}/{pattern}",))
    assert [file.name for file in found] == names
    assert all(file.uri.startswith(f"{scheme}{tree}") for file in found)
    assert all(file.bytes > 0 and file.changed_ns > 0 for file in found)


def test_find_file_with_a_bracket_in_its_name_is_taken_as_it_is(tree: Path) -> None:
    assert [file.name for file in find((f"{tree}/we[i]rd.txt",))] == ["we[i]rd.txt"]


def test_find_same_file_twice_comes_once_in_order_of_paths(tree: Path) -> None:
    found = find((f"{tree}/b.txt", f"{tree}/*.txt"))
    assert [file.name for file in found] == ["b.txt", "a.txt", "we[i]rd.txt"]


def test_find_on_an_fsspec_store() -> None:
    store = fsspec.filesystem("memory")
    for name in ("x/1.txt", "x/2.txt", "x/y/3.txt"):
        store.pipe(f"/corpus/{name}", b"text")
    assert [file.name for file in find(("memory://corpus/x/*.txt",))] == ["1.txt", "2.txt"]
    assert [file.name for file in find(("memory://corpus/x",))] == ["1.txt", "2.txt", "y/3.txt"]


@pytest.mark.parametrize("path", ["none/*.txt", "none.txt", "*.parquet", "file:///no/such/place/*.txt"])
def test_find_nothing_matched_names_the_path(tree: Path, path: str) -> None:
    with pytest.raises(InputError, match="matches no file"):
        find((path if "://" in path else f"{tree}/{path}",))


def test_find_unknown_format_or_scheme_is_named(tree: Path) -> None:
    with pytest.raises(InputError, match=r"notes\.pdf is none of"):
        find((f"{tree}/sub/*",))
    with pytest.raises(InputError, match="nosuch://bucket"):
        find(("nosuch://bucket/a.txt",))
