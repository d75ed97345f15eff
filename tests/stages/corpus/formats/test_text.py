"""Text of real life: old line ends, padded and oddly compressed files."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from stages.corpus.checks import check
from stages.corpus.config import CorpusConfig
from stages.corpus.formats import text
from stages.corpus.readers import Damaged, documents
from stages.errors import InputError

LINES = [f"Line {number}, in which – something stands." for number in range(3000)]


def _read(file: Path, content: bytes) -> list[str]:
    file.write_bytes(content)
    return list(documents(str(file), "text", "line"))


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
def test_text_with_the_line_ends_of_old_macs_is_lines(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", size)
    some = LINES[: size * 3]
    assert _read(tmp_path / "a.txt", "\r".join(some).encode()) == some
    assert _read(tmp_path / "a.txt.gz", gzip.compress(("\r".join(some) + "\r").encode())) == some
    assert _read(tmp_path / "a.csv", ("id,text\r" + "".join(f'1,"{one}"\r' for one in some)).encode()) == some
    assert _read(tmp_path / "a.jsonl", "\r".join(f'{{"text": "{one}"}}' for one in some).encode()) == some


def test_text_with_a_line_feed_anywhere_keeps_its_carriage_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", 16)
    assert _read(tmp_path / "a.txt", b"10 %\r20 %\r" * 100 + b"done\r\nnext\n") == [
        "10 %\r20 %\r" * 100 + "done\r",
        "next",
    ]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_gzip_padded_with_zeros_is_whole(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CHUNK_BYTES", size)
    some = LINES[: size * 3]
    plain = ("\n".join(some) + "\n").encode()
    half = len(plain) // 2
    members = gzip.compress(plain[:half]), gzip.compress(plain[half:])
    assert _read(tmp_path / "a.txt.gz", members[0] + members[1] + bytes(5000)) == some
    assert _read(tmp_path / "a.txt.gz", members[0] + bytes(512) + members[1]) == some


def test_gzip_inflates_by_pieces_whatever_it_holds(tmp_path: Path) -> None:
    plain = b"a" * (5 << 20) + b"\n" + b"b" * (3 << 20) + b"\n"
    assert _read(tmp_path / "a.txt.gz", gzip.compress(plain)) == ["a" * (5 << 20), "b" * (3 << 20)]
    assert max(map(len, text._chunks(str(tmp_path / "a.txt.gz"), "gzip"))) <= text.CHUNK_BYTES


@pytest.mark.parametrize("cut", [5, 40, -4])
def test_gzip_cut_short_or_with_something_behind_it_is_damage(tmp_path: Path, cut: int) -> None:
    whole = gzip.compress("\n".join(LINES).encode())
    with pytest.raises(Damaged, match=r"cannot read .*a\.txt\.gz"):
        _read(tmp_path / "a.txt.gz", whole[:cut])
    with pytest.raises(Damaged, match=r"cannot read .*a\.txt\.gz"):
        _read(tmp_path / "a.txt.gz", whole + b"something else")
    wrong = bytearray(whole)
    wrong[-6] ^= 1  # in the checksum
    with pytest.raises(Damaged, match=r"cannot read .*a\.txt\.gz"):
        _read(tmp_path / "a.txt.gz", bytes(wrong))


def zstd_with_a_window_of_two_gib(content: bytes) -> bytes:
    """A frame as `zstd --long=31` begins it (RFC 8878, 3.1.1): no content size, window descriptor 21 << 3, raw."""
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    return bytes.fromhex("28b52ffd") + bytes([0, 21 << 3]) + block


def test_zstd_with_a_long_window_is_to_be_recompressed_and_never_called_damaged(tmp_path: Path) -> None:
    good = pa.Codec("zstd").compress(b"A good line of text.\n", asbytes=True)
    for number in range(40):
        (tmp_path / f"{number:02d}.txt.zst").write_bytes(good)
    (tmp_path / "17.txt.zst").write_bytes(zstd_with_a_window_of_two_gib(b"A good line of text.\n"))
    for on_damaged in ("refuse", "skip"):
        with pytest.raises(InputError, match=r"17\.txt\.zst was compressed with a longer window.*recompress") as raised:
            check(CorpusConfig(paths=(str(tmp_path),), on_damaged=on_damaged))
        assert not isinstance(raised.value, Damaged)
    with pytest.raises(InputError, match="recompress"):  # in a second frame
        _read(tmp_path / "b.txt.zst", good + zstd_with_a_window_of_two_gib(b"more\n"))
