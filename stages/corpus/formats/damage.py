"""What is said of a file that cannot be read, and the line between a broken file and a wrong setting."""

import zlib

import pyarrow as pa

from stages.errors import InputError
from stages.storage import read_through


class Damaged(InputError):
    """A file's content is broken: cut short, overwritten, not what its name says."""


UNREAD = (OSError, pa.ArrowException, UnicodeDecodeError, zlib.error)
"""What reading a broken file raises, and a store that is away."""
_WINDOW = "too much memory"
"""In zstd's message for a frame with a longer window than the 128 MiB that it decodes."""


def unread(uri: str, error: Exception) -> InputError:
    """Damage, where the bare bytes can be read to their end; else a store that is away.

    A zstd file with a long window is whole, and advice to leave it out would drop good text: it is to be recompressed.
    """
    if _WINDOW in str(error):
        return InputError(
            f"{uri} was compressed with a longer window (zstd --long=28 or more) than can be decoded here; "
            "recompress it: zstd -dc --long=31 FILE | zstd -o NEW."
        )
    try:
        read_through(uri)
    except (OSError, pa.ArrowException) as unreachable:
        return InputError(f"cannot read {uri}: {first_line(unreachable)}; check the address and your access.")
    return Damaged(f"cannot read {uri}: {first_line(error)}; is it whole, and what its name says?")


def no_column(place: str, column: str, there: list[str]) -> InputError:
    """The table has another column, or the setting names a wrong one."""
    found = ", ".join(there[:20]) or "none"
    return InputError(f"{place} has no column {column!r}; set corpus.text_column to one of those it has: {found}.")


def not_text(place: str, column: str, kind: str) -> InputError:
    """The column is there and holds `kind`."""
    return InputError(f"column {column!r} of {place} holds {kind} and not text; set corpus.text_column to another one.")


def first_line(error: BaseException) -> str:
    """What an error says, in one line without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
