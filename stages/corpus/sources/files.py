"""Which files `corpus.paths` means: globs, folders and single files, on a disk or in an object store."""

import glob
import os
import re
from dataclasses import dataclass

import pyarrow.fs as pafs
from fsspec.utils import glob_translate

from stages.corpus.readers import format_of
from stages.errors import InputError
from stages.storage import filesystem_of

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file to read. `name` is relative to the folder in which its path's first wildcard stands: with another folder
    around it the same data has the same name."""

    uri: str
    name: str
    bytes: int
    changed_ns: int
    """When it was last written, in nanoseconds since 1970; 0 where the store does not tell."""


def find(paths: tuple[str, ...]) -> list[InputFile]:
    """The files that the paths mean, path by path, sorted by name within each, none twice.

    A folder means every file of a known format inside it, at any depth. Raises `InputError` for a path that matches
    nothing, and for a file of an unknown format.
    """
    files: dict[str, InputFile] = {}
    for path in paths:
        try:
            found = _find_uri(path) if "://" in path else _find_local(path)
        except OSError as error:
            raise InputError(
                f"cannot list {path}: {str(error).splitlines()[0]}; check the address and your access."
            ) from error
        if not found:
            raise InputError(f"corpus.paths names {path}, which matches no file; correct it (quote it in a shell).")
        for file in sorted(found, key=lambda file: file.name):
            format_of(file.uri)
            files.setdefault(file.uri, file)
    return list(files.values())


def _find_local(path: str) -> list[InputFile]:
    path = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(path):
        base, names = path, [name for name in glob.glob(f"{glob.escape(path)}/**", recursive=True) if _is_known(name)]
    elif os.path.isfile(path):  # also where the name has a bracket
        base, names = os.path.dirname(path), [path]
    else:
        base, names = _base_of(path), glob.glob(path, recursive=True)
    return [
        InputFile(
            uri=name,
            name=os.path.relpath(name, base),
            bytes=os.stat(name).st_size,
            changed_ns=os.stat(name).st_mtime_ns,
        )
        for name in names
        if os.path.isfile(name)
    ]


def _find_uri(uri: str) -> list[InputFile]:
    """In a URI `?` begins the store's options (s3://bucket/a.txt?region=eu-west-1): it is no wildcard there."""
    address, mark, options = uri.partition("?")
    filesystem, path = filesystem_of(f"{_base_of(address)}{mark}{options}" if _MAGIC.search(address) else uri)
    base = _base_of(address) if _MAGIC.search(address) else address.rstrip("/")
    path = path.rstrip("/")
    own = filesystem.get_file_info(path)
    if own.type == pafs.FileType.File:
        return [_input_file(own, base, path, os.path.dirname(path), f"{mark}{options}")]
    # Python's glob takes ** for * where it is no whole part of a path; fsspec refuses it there.
    pattern = re.sub(r"(?<=[^/*])\*+|\*+(?=[^/*])", "*", address[len(base) + 1 :])
    matches = re.compile(glob_translate(pattern)).match if _MAGIC.search(address) else _is_known
    listed = filesystem.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    return [
        _input_file(info, base, path, path, f"{mark}{options}")
        for info in listed
        if info.type == pafs.FileType.File and matches(info.path[len(path) + 1 :])
    ]


def _input_file(info: pafs.FileInfo, base: str, path: str, root: str, options: str) -> InputFile:
    uri = f"{base}{info.path[len(path) :]}{options}"  # the address as the user spelled it, host and all
    return InputFile(uri=uri, name=info.path[len(root) + 1 :], bytes=info.size or 0, changed_ns=info.mtime_ns or 0)


def _base_of(pattern: str) -> str:
    """The folder in which the first wildcard stands."""
    found = _MAGIC.search(pattern)
    return os.path.dirname(pattern[: found.start()] if found else pattern)


def _is_known(name: str) -> bool:
    try:
        format_of(name)
    except InputError:
        return False
    return True
