"""A file's bytes, plain or compressed, to UTF-8 text: in pieces, or in lines."""

import zlib
from collections.abc import Iterator

from pyarrow import NativeFile

from stages.corpus.formats.damage import Damaged
from stages.storage import filesystem_of

CHUNK_BYTES = 1 << 20
_GZIP = 31
"""zlib's window bits for a gzip header and trailer, checksum included."""


def pieces(uri: str, compression: str | None, *, whole_lines: bool = True) -> Iterator[str]:
    """The decoded text in pieces, each but the last ending with a line, or, without `whole_lines`, with a character.

    In a file without a single `\\n` the line ends are `\\r`, as on the first Macs, and come as `\\n`. Raises `Damaged`
    for text that is not UTF-8, and what `damage.UNREAD` names for bytes that cannot be decompressed.
    """
    offset, rest, mac = 0, [b""], None
    for chunk in _chunks(uri, compression):
        if mac is None and (b"\r" in chunk or b"\n" in chunk):
            mac = b"\n" not in chunk and not _has_newline(uri, compression)
        data = chunk.replace(b"\r", b"\n") if mac else chunk
        cut = data.rfind(b"\n") + 1 if whole_lines else _last_character(data)
        if not cut:  # in the middle of a long line
            rest.append(data)
            continue
        piece = b"".join((*rest, data[:cut]))
        yield _decode(piece, offset, uri)
        offset, rest = offset + len(piece), [data[cut:]]
    if last := b"".join(rest):
        yield _decode(last, offset, uri)


def lines(uri: str, compression: str | None) -> Iterator[str]:
    """Lines as `\\n` ends them, without their ends: `str.splitlines` would cut at other characters too."""
    for piece in pieces(uri, compression):
        yield from piece.removesuffix("\n").split("\n")


def _chunks(uri: str, compression: str | None) -> Iterator[bytes]:
    filesystem, path = filesystem_of(uri)
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
