"""Files on a disk, where folders may be links: into themselves, or one into the other."""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator

_RECURSIVE = "**"
Walk = Callable[[str], Iterator[str]]


def matching(pattern: str, matcher: Callable[[str], Callable[[str], object]], walk: Walk) -> list[str]:
    """The files that a glob means, hidden ones too. Python's own follows a link that leads back until the system
    refuses, 40 times; so what `**` means is walked here, and held against `matcher` of the rest of the pattern."""
    parts = pattern.split("/")
    if _RECURSIVE not in parts:
        return [path for path in glob.glob(pattern, include_hidden=True) if os.path.isfile(path)]
    at = parts.index(_RECURSIVE)
    matches, head = matcher("/".join(parts[at:])), "/".join(parts[:at]) or "/"
    roots = glob.glob(head, include_hidden=True) if glob.has_magic(head) else [head]
    return [
        path for root in roots if os.path.isdir(root) for path in walk(root) if matches(os.path.relpath(path, root))
    ]


def once(paths: Iterable[str], base: str) -> list[str]:
    """Each file once, by its real path; under its own name where that is among the paths, rather than a link's."""
    real_base = os.path.realpath(base)
    found: dict[str, tuple[bool, str]] = {}
    for path in paths:
        real = os.path.realpath(path)
        named = (real != os.path.normpath(f"{real_base}/{os.path.relpath(path, base)}"), path)
        found[real] = min(named, found.get(real, named))
    return [path for _, path in found.values()]


def walk(base: str, why_folder: Callable[[str], str], on_left_out: Callable[[str], object]) -> Iterator[str]:
    """Every file below `base`, each folder entered once whatever links lead to it, and by its own name rather than a
    link's. A folder for which there is a reason is not entered, and one that cannot be listed is told as well."""
    entered: set[str] = set()
    folders, links = deque([base]), deque[str]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        real = os.path.realpath(folder)
        if real in entered:
            continue
        entered.add(real)
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            on_left_out(f"{folder} cannot be listed ({error.strerror}).")
            continue
        for entry in entries:
            linked = entry.is_symlink()
            if os.path.isdir(entry.path) if linked else entry.is_dir():
                if why := why_folder(entry.path):
                    on_left_out(why)
                else:
                    (links if linked else folders).append(entry.path)
            elif os.path.isfile(entry.path) if linked else entry.is_file():
                yield entry.path
