"""The documentation of installed libraries as a corpus."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.context import StageContext
from stages.corpus.artifact import Corpus
from stages.corpus.checks import check, identity
from stages.corpus.config import CorpusConfig
from stages.corpus.sources.library_docs import (
    DISTRIBUTIONS,
    HELDOUT_DISTRIBUTIONS,
    docstrings,
    documents_in,
    files_of,
    in_tasks,
    is_new,
)
from stages.corpus.stage import gather
from stages.errors import InputError
from stages.storage import Folder

SMALL = CorpusConfig(
    source="library-docs", distributions=("click", "Jinja2"), heldout_distributions=("MarkupSafe", "itsdangerous")
)


def _gather(folder: Path, config: CorpusConfig = SMALL) -> Corpus:
    return gather(config, StageContext(folder=Folder(str(folder)), seed=0))


def _texts(corpus: Corpus, shards: tuple[str, ...]) -> list[str]:
    return [text for shard in shards for text in pq.read_table(corpus.folder.path / shard)["text"].to_pylist()]


def test_gather_library_docs_twice_is_the_same_and_holds_out_whole_distributions(
    ray_session: None, tmp_path: Path
) -> None:
    first, second = _gather(tmp_path / "a"), _gather(tmp_path / "b")
    assert first.digest == second.digest
    train, heldout = _texts(first, first.shards), _texts(first, first.heldout_shards)
    assert (len(train), len(heldout)) == (first.documents, first.heldout_documents)
    assert sum(map(len, train)) == first.characters > 50_000
    assert 1_000 < sum(map(len, heldout)) == first.heldout_characters
    own = {
        " ".join(document)
        for name in SMALL.distributions
        for f in files_of(name, False)
        for document in documents_in(f)
    }
    assert not own & set(heldout)


def test_gather_library_docs_paragraphs_on_both_sides_stay_held_out(ray_session: None, tmp_path: Path) -> None:
    """`typer` carries a good part of what `click` says, word for word."""
    config = CorpusConfig(source="library-docs", distributions=("click", "typer"), heldout_distributions=("click",))
    both, alone = (
        {p for file in files_of(name, False) for document in documents_in(file) for p in document}
        for name in ("click", "typer")
    )
    corpus = _gather(tmp_path, config)
    train = "\n".join(_texts(corpus, corpus.shards))
    assert len(both & alone) > 50
    assert not [paragraph for paragraph in both & alone if paragraph in train]
    assert any(paragraph in train for paragraph in alone - both)


def test_gather_library_docs_paragraphs_occur_once(ray_session: None, tmp_path: Path) -> None:
    corpus = _gather(tmp_path)
    texts = _texts(corpus, (*corpus.shards, *corpus.heldout_shards))
    assert len(texts) == len(set(texts))


def test_documents_in_does_not_import_the_library() -> None:
    code = (
        "import sys; from stages.corpus.sources.library_docs import *; "
        "print(sum(1 for f in files_of('networkx', False) for d in documents_in(f)), 'networkx' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    count, imported = done.stdout.split()
    assert int(count) > 1000
    assert imported == "False"


def test_docstrings_are_those_that_python_itself_attaches() -> None:
    source = b'''"""Module."""
if True:
    class A:
        """Class A."""
        x = """no docstring"""
        async def f(self):
            """Method f."""
try:
    def g():
        """Function g."""
except Exception:
    pass
'''
    namespace: dict = {}
    exec(compile(source, "m", "exec"), namespace)
    expected = [namespace["__doc__"], namespace["A"].__doc__, namespace["A"].f.__doc__, namespace["g"].__doc__]
    assert [text for text in docstrings(source) if text] == expected
    assert docstrings(b'"""Not Python"""\ndef {{ template }}') == []


def test_in_tasks_holds_every_file_once_whatever_the_listing() -> None:
    files = files_of("click", False) + files_of("Jinja2", False)
    tasks = in_tasks(files, 100_000)
    assert sorted(f.name for task in tasks for f in task) == sorted(f.name for f in files)
    assert len(tasks) > 4
    assert in_tasks(files[::-1], 100_000) == tasks


def test_is_new_sees_through_case_digits_and_punctuation() -> None:
    seen: set[bytes] = set()
    assert [is_new(text, seen) for text in ("Added in 1.2.", "added in 3.4", "Added on 1.2.")] == [True, False, True]


def test_listed_distributions_are_requirements_of_this_project_and_installed() -> None:
    """Only what every installation carries: not the tools of development."""
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    todo = [Requirement(text) for text in project["dependencies"]]
    required: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in required:
            continue
        required.add(key)
        for text in importlib.metadata.requires(requirement.name) or []:
            inner = Requirement(text)
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(inner)
    assert {canonicalize_name(n) for n in (*DISTRIBUTIONS, *HELDOUT_DISTRIBUTIONS)} <= {name for name, _ in required}
    check(CorpusConfig(source="library-docs"))


def test_check_distribution_not_installed_is_named() -> None:
    config = CorpusConfig(source="library-docs", distributions=("click", "no-such-thing"))
    for function in (check, identity):
        with pytest.raises(InputError, match="'no-such-thing', which is not installed"):
            function(config)


def test_check_everything_held_out_is_refused() -> None:
    with pytest.raises(InputError, match=r"corpus\.distributions"):
        check(CorpusConfig(source="library-docs", distributions=("click",), heldout_distributions=("click",)))


def test_identity_library_docs_is_names_and_versions() -> None:
    expected = {name: importlib.metadata.version(name) for name in ("click", "Jinja2", "MarkupSafe", "itsdangerous")}
    assert identity(SMALL) == expected
