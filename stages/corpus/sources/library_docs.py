"""Real English text that every installation carries: the documentation inside the libraries themselves.

Docstrings are read with `ast`, so that no library is imported; Markdown as it lies. What is kept is prose: whole
sentences, without code, tables, signatures and markup. A document is one docstring, its prose paragraphs joined.
"""

import ast
import functools
import gc
import hashlib
import importlib.metadata
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stages.corpus.sources.prose import paragraphs
from stages.errors import InputError

_LISTED = (
    "aiohttp alembic attrs click datasets docker Flask fonttools fsspec GitPython google-api-core google-auth "
    "graphql-core grpcio huggingface_hub Jinja2 joblib matplotlib mlflow mpmath narwhals networkx numpy optuna "
    "packaging pandas pillow protobuf pydantic Pygments pyparsing ray requests rich scikit-learn scipy setuptools "
    "smart_open SQLAlchemy sympy torch transformers tyro urllib3 virtualenv Werkzeug"
)
DISTRIBUTIONS = tuple(_LISTED.split())
"""What this project requires, directly or not, and that has much to say: 203 MB of source, 17 MB of prose."""
HELDOUT_DISTRIBUTIONS = ("click", "Flask", "numpy", "optuna", "pydantic", "rich")
"""6 % of the text, on what the rest is about too: arrays, optimisation, validation, the web, the terminal."""

SKIPPED_FOLDERS = frozenset(
    ("_vendor", "_vendored", "vendor", "vendored", "third_party", "thirdparty_files", "tests", "testing", "lexers")
)
"""Copies of other distributions, test suites, and Pygments' tables."""
SPARSE_BYTES = 6000
"""A file with less than a docstring in so many bytes is not parsed: see `docstrings`."""
_SKIPPED_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|conftest|[^/]*_pb2(_grpc)?|mod(eling|ular)_[^/]*)\.py$")
"""Tests, generated code, and transformers' architectures: 33 MB of source whose docstrings all say the same."""


@dataclass(frozen=True, kw_only=True)
class LibraryFile:
    """One file of an installed distribution; `name` is relative to where distributions lie."""

    distribution: str
    version: str
    name: str
    bytes: int
    heldout: bool


@functools.cache
def version_of(distribution: str) -> str:
    """The installed version; raises `InputError` naming a distribution that is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"corpus.distributions names {distribution!r}, which is not installed; install it or leave it out."
        ) from None


def files_of(distribution: str, heldout: bool) -> list[LibraryFile]:
    """The Python and Markdown files of a distribution, without tests, generated and vendored ones; sorted by name."""
    version = version_of(distribution)
    listed = importlib.metadata.files(distribution)
    if listed is None:
        raise InputError(
            f"{distribution} was installed without a list of its files; install it with pip, or leave it out."
        )
    files = []
    for file in listed:
        name = file.as_posix()
        if not _wanted(file):
            continue
        try:
            size = Path(str(file.locate())).stat().st_size
        except FileNotFoundError:  # listed and yet not there: some installers remove what they do not need
            continue
        files.append(LibraryFile(distribution=distribution, version=version, name=name, bytes=size, heldout=heldout))
    return sorted(files, key=lambda file: file.name)


def in_tasks(files: list[LibraryFile], task_bytes: int) -> list[list[LibraryFile]]:
    """Files in an order that mixes distributions (by a hash of the name), cut into tasks of about `task_bytes`.

    Any stretch of the corpus is then a fair sample of all of it, and tasks take about equally long.
    """
    tasks: list[list[LibraryFile]] = []
    room = 0
    for file in sorted(files, key=lambda file: hashlib.blake2b(file.name.encode(), digest_size=16).digest()):
        if room <= 0:
            tasks.append([])
            room = task_bytes
        tasks[-1].append(file)
        room -= file.bytes
    return tasks


def documents_in(file: LibraryFile) -> Iterator[list[str]]:
    """The documents of a file, each as its paragraphs of prose; raises `InputError` where another version lies here."""
    if version_of(file.distribution) != file.version:
        raise InputError(
            f"{file.distribution} is {version_of(file.distribution)} on one machine and {file.version} on another; "
            "install the same versions everywhere."
        )
    content = Path(str(_distribution(file.distribution).locate_file(file.name))).read_bytes()
    texts = docstrings(content) if file.name.endswith(".py") else [_markdown(content, file.name)]
    yield from filter(None, map(paragraphs, texts))


def docstrings(source: bytes) -> list[str]:
    """The docstrings of a module, its classes and functions, in order of the file.

    None of a file that does not parse (a template, or written for another Python), nor of one with hardly any: parsing
    is what costs time here, and those files, a tenth of all bytes, hold a twenty-fifth of the text.
    """
    if source.count(b'"""') * SPARSE_BYTES < 2 * len(source):
        return []
    collecting = gc.isenabled()
    gc.disable()  # a tree is a million objects and no rubbish: a fifth of the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries' own invalid escapes
            return list(_docstrings_of(ast.parse(source)))
    except (SyntaxError, ValueError):
        return []
    finally:
        if collecting:
            gc.enable()


def is_new(paragraph: str, seen: set[bytes]) -> bool:
    """Whether its letters have not been seen before, and adds them: case, digits and punctuation make nothing new."""
    letters = "".join(filter(str.isalpha, paragraph.lower()))
    key = hashlib.blake2b(letters.encode(), digest_size=16).digest()
    if key in seen:
        return False
    seen.add(key)
    return True


_distribution = functools.cache(importlib.metadata.distribution)
"""Looked up for every file, and slow: it lists site-packages."""


def _wanted(file: PurePosixPath) -> bool:
    if file.suffix == ".md" or file.name == "METADATA":
        return not SKIPPED_FOLDERS & set(file.parts) and "licenses" not in file.parts
    return file.suffix == ".py" and not SKIPPED_FOLDERS & set(file.parts) and not _SKIPPED_FILE.search(file.as_posix())


def _docstrings_of(node: ast.AST) -> Iterator[str]:
    """Down into classes and what wraps definitions; not into a function's own statements, where the time would go."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield ast.get_docstring(node) or ""
    if isinstance(node, ast.Module | ast.ClassDef | ast.If | ast.Try | ast.With):
        for child in (*node.body, *getattr(node, "orelse", ())):
            yield from _docstrings_of(child)


def _markdown(content: bytes, name: str) -> str:
    """Markdown as it lies; of a METADATA file its description, where that is Markdown."""
    text = content.decode(errors="replace")
    if not name.endswith("METADATA"):
        return text
    head, _, description = text.partition("\n\n")
    return description if "description-content-type: text/markdown" in head.lower() else ""
