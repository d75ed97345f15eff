"""Folders, on a disk or in an object store, behind one small type.

A folder is a local path or any URI that pyarrow knows (s3://, gs://, file://) or, failing that, fsspec. Object stores
rename nothing, so nothing here relies on a rename being visible: what counts is always a small file written last.
pyarrow is imported where a folder is opened: configs only name folders, and are read for every `--help`.
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stages.errors import InputError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_PIECE = 1 << 22
"""Bytes that are read at a time where a file's content is not kept."""


def filesystem_of(uri: str) -> "tuple[FileSystem, str]":
    """(filesystem, path inside it) for a local path or a URI; raises `InputError` for a scheme nobody knows."""
    import pyarrow.fs as pafs

    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    try:
        return pafs.FileSystem.from_uri(uri)
    except (ValueError, NotImplementedError):  # not one of pyarrow's own schemes
        pass
    try:
        return pafs.FileSystem.from_uri(f"fsspec+{uri}")
    except (ValueError, ImportError) as error:
        raise InputError(f"cannot open {uri}: {error}; use a local path, s3:// or gs://.") from error


def read_through(uri: str) -> None:
    """Read a file's bare bytes to their end and drop them; raises OSError where they do not come.

    pyarrow says with the same OSError that a store is away and that a page is broken: this tells the two apart.
    """
    filesystem, path = filesystem_of(uri)
    with filesystem.open_input_stream(path, compression=None) as stream:
        while stream.read(_PIECE):
            pass


@dataclass(frozen=True)
class Folder:
    """A folder by absolute path or URI. Cheap to make and to send to another machine: it opens nothing until asked."""

    uri: str

    def __post_init__(self) -> None:
        if "://" not in self.uri:
            object.__setattr__(self, "uri", os.path.abspath(os.path.expanduser(self.uri)))

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.uri.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_local(self) -> bool:
        """Whether plain `open` reaches it on this machine."""
        return "://" not in self.uri

    @property
    def path(self) -> Path:
        """The local path; only where `is_local`."""
        if not self.is_local:
            raise ValueError(f"{self.uri} is no local folder")
        return Path(self.uri)

    def read_bytes(self, name: str) -> bytes:
        """The whole content of the file `name`; raises FileNotFoundError."""
        filesystem, path = filesystem_of(self.uri)
        with filesystem.open_input_stream(f"{path}/{name}") as stream:
            return stream.read()

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the file `name` whole or not at all: by rename on a disk, by a single put in an object store."""
        from pyarrow.fs import LocalFileSystem

        filesystem, path = filesystem_of(f"{self.uri.rstrip('/')}/{name}")
        filesystem.create_dir(os.path.dirname(path), recursive=True)
        local = isinstance(filesystem, LocalFileSystem)
        target = f"{path}.{uuid.uuid4().hex[:8]}.part" if local else path
        with filesystem.open_output_stream(target) as stream:
            stream.write(data)
        if local:
            os.replace(target, path)

    def exists(self, name: str = "") -> bool:
        """Whether the file or folder `name` (or this folder itself) is there."""
        from pyarrow.fs import FileType

        filesystem, path = filesystem_of(f"{self.uri.rstrip('/')}/{name}".rstrip("/"))
        return filesystem.get_file_info(path).type != FileType.NotFound

    def names(self) -> list[str]:
        """The names of the files and folders directly inside, sorted; empty where the folder is not there."""
        from pyarrow.fs import FileSelector

        filesystem, path = filesystem_of(self.uri)
        entries = filesystem.get_file_info(FileSelector(path, allow_not_found=True))
        return sorted(entry.base_name for entry in entries)

    def check_writable(self) -> None:
        """Write a small file and delete it again; raises `InputError` where that cannot be done."""
        name = f".writable-{uuid.uuid4().hex[:8]}"
        try:
            self.write_bytes(name, b"")
            filesystem, path = filesystem_of(f"{self.uri.rstrip('/')}/{name}")
            filesystem.delete_file(path)
        except OSError as error:  # no such bucket, no right to it, no server there, no space
            raise InputError(f"{self.uri} cannot be written: {' '.join(str(error).split())}") from error

    def remove(self) -> None:
        """Delete the folder with all it holds; no error where it is not there."""
        from pyarrow.fs import FileType

        filesystem, path = filesystem_of(self.uri)
        if filesystem.get_file_info(path).type == FileType.Directory:
            filesystem.delete_dir(path)

    def copy_to(self, local: Path, names: Iterable[str]) -> None:
        """Copy the files `names` of this folder into a local folder; raises FileNotFoundError."""
        for name in names:
            (local / name).write_bytes(self.read_bytes(name))

    @contextmanager
    def as_local(self) -> Iterator[Path]:
        """A local path with this folder's files: itself, or a copy that lasts as long as the `with` block."""
        if self.is_local:
            yield self.path
            return
        from pyarrow.fs import copy_files

        with TemporaryDirectory() as copy:
            copy_files(self.uri, copy)
            yield Path(copy)

    @contextmanager
    def written_locally(self) -> Iterator[Path]:
        """An empty local folder to write into; its files land here when the block ends without an error."""
        with TemporaryDirectory() as copy:
            yield Path(copy)
            if self.is_local:
                shutil.copytree(copy, self.path, dirs_exist_ok=True)
            else:
                from pyarrow.fs import copy_files

                filesystem, path = filesystem_of(self.uri)
                copy_files(copy, path, destination_filesystem=filesystem)
