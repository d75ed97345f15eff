"""Which files `corpus.paths` means: globs, folders and single files, on a disk or in an object store."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow.fs as pafs
from fsspec.utils import glob_translate

from stages.corpus.readers import BESIDE, format_of
from stages.corpus.sources.disk import matching, once, walk
from stages.corpus.sources.left_out import Surroundings
from stages.errors import InputError
from stages.storage import Folder, filesystem_of

_MAGIC = re.compile(r"[*?\[]")
_FILE = "file://"
_OTHER_DATA = re.compile(
    r"\.(gz|zstd?|bz2|xz|lz4|snappy|br|zip|7z|rar|tar|tgz|arrow|feather|orc|avro|warc|xlsx?)$", re.IGNORECASE
)
"""What may well hold text that a folder is named for, and cannot be read."""


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file to read. `name` is relative to the folder in which its path's first wildcard stands: with another folder
    around it the same data has the same name."""

    uri: str
    name: str
    bytes: int
    changed_ns: int
    """When it was last written, in nanoseconds since 1970; 0 where the store does not tell."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the paths mean."""

    files: list[InputFile]
    """Path by path, sorted by name within each, none twice."""
    left_out: list[str]
    """A sentence for each file, and each folder as one, that was met and is not read."""


def find(paths: tuple[str, ...], root: Folder | None = None) -> list[InputFile]:
    """The files alone that `look` finds."""
    return look(paths, root).files


def look(paths: tuple[str, ...], root: Folder | None = None) -> Found:
    """The files that the paths mean; `root` is where this run keeps its stages, whose files are never read.

    A folder means every file of a known format inside it, at any depth, but what `left_out` names. On a disk a file
    counts once, by however many links it is reached. Raises `InputError` for a path that matches nothing, and for a
    file of an unknown format.
    """
    files: dict[str, InputFile] = {}
    left_out: dict[str, None] = {}
    for path in paths:
        own: dict[str, None] = {}
        try:
            found = _find(path, _real(root.uri.rstrip("/")) if root else "", own.setdefault)
        except OSError as error:
            raise InputError(
                f"cannot list {path}: {str(error).splitlines()[0]}; check the address and your access."
            ) from error
        if not found:
            but = f"only what is left out: {next(iter(own)).rstrip('.')}" if own else "no file"
            how = "quote it in a shell; a comma in a name is \\,"
            raise InputError(f"corpus.paths names {path}, which matches {but}; correct it ({how}).")
        left_out.update(own)
        for file in sorted(found, key=lambda file: file.name):
            format_of(file.uri)
            files.setdefault(_real(file.uri), file)
    return Found(files=list(files.values()), left_out=list(left_out))


def _find(path: str, root: str, on_left_out: Callable[[str], object]) -> list[InputFile]:
    if path.startswith(_FILE) or "://" not in path:
        return _on_disk(path, root, on_left_out)
    return _in_store(path, root, on_left_out)


def _on_disk(given: str, root: str, on_left_out: Callable[[str], object]) -> list[InputFile]:
    """By a path, or by a file:// address, whose spelling the files' addresses keep."""
    path, spelling, options = os.path.abspath(os.path.expanduser(given)), "", ""
    if given.startswith(_FILE):
        address, mark, rest = given.partition("?")
        spelling, options = _base_of(address) if _MAGIC.search(address) else address.rstrip("/"), f"{mark}{rest}"
        path = filesystem_of(spelling)[1].rstrip("/")
        spelled, path = path, path + address.rstrip("/")[len(spelling) :]
    else:
        spelled = ""

    def made(name: str, base: str) -> InputFile:
        about = os.stat(name)
        return InputFile(
            uri=f"{spelling}{name[len(spelled) :]}{options}",
            name=os.path.relpath(name, base),
            bytes=about.st_size,
            changed_ns=about.st_mtime_ns,
        )

    if os.path.isfile(path):  # also where the name has a bracket
        return [made(path, os.path.dirname(path))]
    base = path if os.path.isdir(path) else _base_of(path)
    where = _surroundings(base, path, root, lambda folder, name: os.path.isfile(f"{folder}/{name}"), os.path.realpath)
    walked = partial(walk, why_folder=where.why_folder, on_left_out=on_left_out)
    met = matching(path, _matcher, walked) if base != path else walked(base)
    found = [name for name in met if (base != path or _known(name, on_left_out)) and _is_read(name, where, on_left_out)]
    if base == path:
        found = _meant(found, on_left_out)
    return [made(name, base) for name in once(found, base)]


def _in_store(uri: str, root: str, on_left_out: Callable[[str], object]) -> list[InputFile]:
    """In a URI `?` begins the store's options (s3://bucket/a.txt?region=eu-west-1): it is no wildcard there."""
    address, mark, options = uri.partition("?")
    filesystem, path = filesystem_of(f"{_base_of(address)}{mark}{options}" if _MAGIC.search(address) else uri)
    base = _base_of(address) if _MAGIC.search(address) else address.rstrip("/")
    path = path.rstrip("/")
    own = filesystem.get_file_info(path)
    if own.type == pafs.FileType.File:
        return [_stored(own, base, path, os.path.dirname(path), f"{mark}{options}")]
    known = partial(_known, on_left_out=on_left_out)
    matches = _matcher(address[len(base) + 1 :]) if _MAGIC.search(address) else known
    listed = filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    inside = {info.path[len(path) + 1 :]: info for info in listed if info.type == pafs.FileType.File}
    where = _surroundings(base, address, root, lambda folder, name: f"{folder}/{name}"[len(base) + 1 :] in inside)
    found = [name for name in inside if matches(name) and _is_read(f"{base}/{name}", where, on_left_out)]
    if not _MAGIC.search(address):
        found = _meant(found, on_left_out)
    return [_stored(inside[name], base, path, path, f"{mark}{options}") for name in found]


def _surroundings(
    base: str, path: str, root: str, holds: Callable[[str, str], bool], real: Callable[[str], str] = str
) -> Surroundings:
    spelled = tuple(filter(None, path[len(base) :].split("/")))
    return Surroundings(base=base, spelled=spelled, root=root, holds=holds, real=real)


def _is_read(path: str, where: Surroundings, on_left_out: Callable[[str], object]) -> bool:
    if why := where.why(path):
        on_left_out(why)
    return not why


def _meant(names: list[str], on_left_out: Callable[[str], object]) -> list[str]:
    """Of a folder's files those that it means: formats of `BESIDE` only where there is no other."""
    main = [name for name in names if format_of(name)[0] not in BESIDE]
    for name in sorted(set(names) - set(main)) if main else ():
        on_left_out(f"{name} lies beside files of other formats; name it, or a glob that means it, to have it read.")
    return main or names


def _stored(info: pafs.FileInfo, base: str, path: str, root: str, options: str) -> InputFile:
    uri = f"{base}{info.path[len(path) :]}{options}"  # the address as the user spelled it, host and all
    return InputFile(uri=uri, name=info.path[len(root) + 1 :], bytes=info.size or 0, changed_ns=info.mtime_ns or 0)


def _matcher(pattern: str) -> Callable[[str], object]:
    """Python's glob takes ** for * where it is no whole part of a path; fsspec refuses it there."""
    return re.compile(glob_translate(re.sub(r"(?<=[^/*])\*+|\*+(?=[^/*])", "*", pattern))).match


def _base_of(pattern: str) -> str:
    """The folder in which the first wildcard stands."""
    found = _MAGIC.search(pattern)
    return os.path.dirname(pattern[: found.start()] if found else pattern)


def _real(uri: str) -> str:
    """What is the same for two names of one file."""
    if uri.startswith(_FILE):
        return os.path.realpath(filesystem_of(uri.partition("?")[0])[1])
    return uri if "://" in uri else os.path.realpath(uri)


def _known(name: str, on_left_out: Callable[[str], object]) -> bool:
    try:
        format_of(name)
    except InputError:
        if _OTHER_DATA.search(name):
            on_left_out(f"{name} is of a format that is not read; convert it.")
        return False
    return True
