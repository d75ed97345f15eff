"""A file's bytes, plain or compressed, to UTF-8 text: in pieces, or in lines."""

import math
import zlib
from collections.abc import Iterator
from itertools import chain

from pyarrow import NativeFile

from stages.corpus.formats.damage import Damaged
from stages.corpus.formats.ranges import UNIT_BYTES, WHOLE, Range, unit_of
from stages.storage import filesystem_of

CHUNK_BYTES = 1 << 20
_GZIP = 31
"""zlib's window bits for a gzip header and trailer, checksum included."""


def pieces(uri: str, compression: str | None, part: Range = WHOLE) -> Iterator[tuple[int, str]]:
    """(its unit, text) of the lines that begin in `part`, in pieces of whole lines that begin in one unit.

    In a file without a single `\\n` the line ends are `\\r`, as on the first Macs, and come as `\\n`; such a file
    belongs to its first part. Of a compressed file there are no parts, and its units are those of what is inside.
    Raises `Damaged` for text that is not UTF-8, and what `damage.UNREAD` names for bytes that cannot be decompressed.
    """
    last = math.inf if part.end is None else part.end
    for offset, lines, mac in _decodable(uri, compression, part.start, whole_lines=True):
        end = math.inf if mac else last
        while lines and offset < end:
            border = int(min((unit_of(offset) + 1) * UNIT_BYTES, end))
            cut = lines.find(b"\n", border - 1 - offset) + 1 or len(lines)
            yield unit_of(offset), _decode(lines[:cut], offset, uri)
            offset, lines = offset + cut, lines[cut:]
        if offset >= end:
            return


def stretches(uri: str, compression: str | None) -> Iterator[str]:
    """The decoded text in pieces that end with a character, wherever its lines end: one may be as long as the file."""
    for offset, data, _ in _decodable(uri, compression, 0, whole_lines=False):
        yield _decode(data, offset, uri)


def lines(uri: str, compression: str | None, part: Range = WHOLE) -> Iterator[tuple[int, str]]:
    """(its unit, a line) as `\\n` ends them, without their ends: `str.splitlines` would cut at other characters too."""
    for unit, piece in pieces(uri, compression, part):
        for line in piece.removesuffix("\n").split("\n"):
            yield unit, line


def lines_before(uri: str, part: Range) -> int:
    """How many lines of a file that is not compressed begin before `part`: looked for where one is to be named."""
    if not part.start:
        return 0
    found, left = 1, part.start - 1  # the line end that the part begins behind is at this byte or further on
    for chunk in _chunks(uri, None):
        found += chunk[:left].count(b"\n")
        left -= len(chunk)
        if left <= 0:
            break
    return found


def _decodable(
    uri: str, compression: str | None, start: int, *, whole_lines: bool
) -> Iterator[tuple[int, bytes, bool | None]]:
    """(offset, bytes, whether the file's line ends are a Mac's), from the first line that begins at `start` or behind
    it: each of the pieces but the last ends with a line, or, without `whole_lines`, with a character."""
    offset, rest, mac = start, [b""], False if start else None
    chunks = _chunks(uri, compression)
    if start:
        offset, chunks = _next_line(_chunks(uri, compression, start - 1), start - 1)
    for chunk in chunks:
        if mac is None and (b"\r" in chunk or b"\n" in chunk):
            mac = b"\n" not in chunk and not _has_newline(uri, compression)
        data = chunk.replace(b"\r", b"\n") if mac else chunk
        cut = data.rfind(b"\n") + 1 if whole_lines else _last_character(data)
        if not cut:  # in the middle of a long line
            rest.append(data)
            continue
        piece = b"".join((*rest, data[:cut]))
        yield offset, piece, mac
        offset, rest = offset + len(piece), [data[cut:]]
    if last := b"".join(rest):
        yield offset, last, mac


def _next_line(chunks: Iterator[bytes], offset: int) -> tuple[int, Iterator[bytes]]:
    """Where the next line begins, and the bytes from there on; none where there is no line end any more."""
    for chunk in chunks:
        if (end := chunk.find(b"\n")) >= 0:
            return offset + end + 1, chain([chunk[end + 1 :]], chunks)
        offset += len(chunk)
    return offset, iter(())


def _chunks(uri: str, compression: str | None, start: int = 0) -> Iterator[bytes]:
    filesystem, path = filesystem_of(uri)
    if start:
        with filesystem.open_input_file(path) as stream:
            stream.seek(start)
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
        return
    gzip = compression == "gzip"
    with filesystem.open_input_stream(path, compression=None if gzip else compression) as stream:
        if gzip:
            yield from _gunzipped(stream)
        else:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk


def _gunzipped(stream: NativeFile) -> Iterator[bytes]:
    """A gzip file's members, one after another. Zeros behind them are padding, as tapes and some stores leave it:
    gzip(1) passes over them, and pyarrow takes them for a broken member."""
    inflate, within, members = zlib.decompressobj(_GZIP), False, 0
    while data := stream.read(CHUNK_BYTES):
        while data:
            if members and not within and not (data := data.lstrip(b"\0")):
                break
            within = True
            piece = inflate.decompress(data, CHUNK_BYTES)
            if piece:
                yield piece
            data = inflate.unconsumed_tail
            while not data and len(piece) == CHUNK_BYTES and not inflate.eof:  # it holds back what had no room
                if piece := inflate.decompress(b"", CHUNK_BYTES):
                    yield piece
            if inflate.eof:
                data, inflate, within, members = inflate.unused_data, zlib.decompressobj(_GZIP), False, members + 1
    if within:
        raise OSError("it ends in the middle of a compressed stream")


def _has_newline(uri: str, compression: str | None) -> bool:
    return any(b"\n" in chunk for chunk in _chunks(uri, compression))


def _last_character(data: bytes) -> int:
    """Where the last character begins, if it may be cut by the end; else the length."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] >= 0xC0:  # the first of several bytes
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)


def _decode(piece: bytes, offset: int, uri: str) -> str:
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise Damaged(
            f"{uri} is not UTF-8: byte {piece[error.start]:#04x} at offset {at:,}; convert it (iconv -t UTF-8)."
        ) from None
    return text.removeprefix("\ufeff") if offset == 0 else text
