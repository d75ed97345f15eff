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

from stages.documents import normalise
from stages.errors import InputError

DISTRIBUTIONS = tuple(
    "aiohttp alembic attrs click datasets docker Flask fonttools fsspec GitPython google-api-core google-auth "
    "graphql-core grpcio huggingface_hub Jinja2 joblib matplotlib mlflow mpmath narwhals networkx numpy optuna "
    "packaging pandas pillow protobuf pydantic Pygments pyparsing ray requests rich scikit-learn scipy setuptools "
    "smart_open SQLAlchemy sympy torch transformers tyro urllib3 virtualenv Werkzeug"
    .split()
)
HELDOUT_DISTRIBUTIONS = ("click", "Flask", "numpy", "optuna", "pydantic", "rich")

SHORTEST, LONGEST = 40, 4000
"""Characters of a paragraph that is kept."""
SKIPPED_FOLDERS = frozenset("_vendor _vendored vendor vendored third_party thirdparty_files tests testing lexers".split())
COMMON_WORDS = frozenset(
    "a an and are as at be been but by can does for from has have if in into is it its may must no not of on one only "
    "or other should so such than that the their then there these they this to used was we when where which will with "
    "you your".split()
)
SPARSE = 6000
_SKIPPED_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|conftest|[^/]*_pb2(_grpc)?|mod(eling|ular)_[^/]*)\.py$")
"""Tests, generated code, and transformers' architectures: 33 MB of source whose docstrings all say the same."""
_ITEM = re.compile(r"(?:[-*+•]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+(?=\S)")
_FIELD = re.compile(r":(?:param|parameter|arg|argument|key|keyword|return|returns|raises|raise|var|ivar)\b[^:]*:\s*")
_ARGUMENT = re.compile(r"\*{0,2}[A-Za-z_][\w.]*(?:\s*\([^()]*(?:\([^()]*\)[^()]*)*\))?:\s+(?=[A-Za-z])")
_MARKUP = (
    (re.compile(r":[a-z:+-]+:`~?(?:[^`<]*<)?([^`<>]+)>?`"), r"\1"),  # :func:`~a.b`
    (re.compile(r"!?\[([^\]]+)\]\([^)\s]*\)"), r"\1"),  # [text](address)
    (re.compile(r"`([^`<]+)<[^`>]+>`_{1,2}"), r"\1"),  # `text <address>`_
    (re.compile(r"\s*\[[\w#]+\]_"), ""),  # [1]_
    (re.compile(r"<[^<> ]+>"), " "),  # <b>
    (re.compile(r"`+([^`]*)`+_{0,2}"), r"\1"),
    (re.compile(r"(?<![\w*])(\*{1,2})(?=\S)([^*]+?)(?<=\S)\1(?![\w*])"), r"\2"),
    (re.compile(r"::(?=\s|$)"), ":"),
)
_MARKED = re.compile(r"[`*\[<]|::")
_UNDERLINE = re.compile(r"([-=~^\"'*#+_])\1{2,}")
_REFUSED = re.compile(r">>>|https?://|[{}|\\<>$@^~]|\.\. |--|__|&\w+;|\bnoqa\b|\bcopyright\b", re.IGNORECASE)
_CODE = re.compile(r"=|\w\(|\w\[|_|/")
_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")


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
    files = []
    for file in importlib.metadata.files(distribution) or []:
        name = file.as_posix()
        if not _wanted(file):
            continue
        try:
            size = file.locate().stat().st_size
        except FileNotFoundError:  # listed and yet not there: some installers remove what they do not need
            continue
        files.append(
            LibraryFile(distribution=distribution, version=version, name=name, bytes=size, heldout=heldout)
        )
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
    for text in texts:
        long_enough = (block for block in blocks(text) if len(block) >= SHORTEST)  # markup only ever shrinks
        paragraphs = [paragraph for paragraph in map(plain, long_enough) if is_prose(paragraph)]
        if paragraphs:
            yield paragraphs


def docstrings(source: bytes) -> list[str]:
    """The docstrings of a module, its classes and functions, in order of the file.

    None of a file that does not parse (a template, or written for another Python), nor of one with less than a docstring
    in `SPARSE` bytes: parsing is what costs time here, and those files, a tenth of all, hold a twenty-fifth of the text.
    """
    if source.count(b'"""') * SPARSE < 2 * len(source):
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


def blocks(text: str) -> Iterator[str]:
    """The paragraphs of a docstring or a Markdown text, each in one line, whatever they hold.

    A paragraph ends at an empty line, at a list item, and where indentation changes; a list item's or an argument's
    own continuation lines, which are indented deeper than its first, belong to it.
    """
    lines: list[str] = []
    indent, hanging, fenced = 0, False, False
    for line in text.expandtabs().splitlines():
        bare = line.strip()
        depth = len(line) - len(line.lstrip())
        fence = bare.startswith(("```", "~~~"))
        if _UNDERLINE.fullmatch(bare):  # what stands above it is a heading
            lines = []
            continue
        starts = bool(_ITEM.match(bare) or _FIELD.match(bare) or _ARGUMENT.match(bare))
        if lines and (not bare or fence or starts or depth < indent or (depth > indent and not hanging)):
            yield " ".join(lines)
            lines = []
        fenced ^= fence
        if not bare or fence or fenced:
            continue
        if not lines:
            indent, hanging = depth, starts
        elif hanging and len(lines) == 1 and depth > indent:
            indent, hanging = depth, False
        lines.append(bare)
    if lines:
        yield " ".join(lines)


def plain(block: str) -> str:
    """A paragraph without its list sign, its argument's name, and inline markup; normalised."""
    for lead in (_ITEM, _FIELD, _ARGUMENT):
        if found := lead.match(block):
            block = block[found.end() :]
            block = block[:1].upper() + block[1:]
    if _MARKED.search(block):
        for pattern, replacement in _MARKUP:
            block = pattern.sub(replacement, block)
    return normalise(block)


def is_prose(text: str) -> bool:
    """Whether a plain paragraph is English in sentences: how it begins and ends, which characters and words it has."""
    if not SHORTEST <= len(text) <= LONGEST or not text.isascii():
        return False
    if not (text[0].isupper() or text[0] in "\"'(") or _REFUSED.search(text):
        return False
    if len(_CODE.findall(text)) > 1 + len(text) // 100:
        return False
    tokens = text.split()
    words = [token for token in tokens if _WORD.fullmatch(token.strip(".,;:!?()\"'"))]
    common = sum(word.lower() in COMMON_WORDS for word in tokens)
    whole = text.rstrip("\"')")[-1:] in (".", "!", "?", ":")  # a heading or a fragment has no full stop
    return len(words) >= max(5, 0.75 * len(tokens)) and common >= (0.1 if whole else 0.2) * len(tokens)


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
