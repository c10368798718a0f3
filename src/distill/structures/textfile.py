"""Open a text file as a user has it: plain or compressed, in UTF-8, UTF-16 or a Western European encoding of one byte.

Only what concerns no number is repaired, and every repair leaves a note, so that nothing is read otherwise than it was
meant without a word.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from distill.base.errors import UserError
from distill.structures.formats import not_xyz

Notes = dict[str, str]
"""What was read otherwise than it is written, one sentence for each kind of repair: the first place of each."""

_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_HEAD = 4096


def read_lines(path: Path, notes: Notes) -> Iterator[str]:
    """Yield the lines of a text file; raises UserError for one that is binary, damaged or cannot be read."""
    try:
        with _open(path) as file:
            head = file.read(_HEAD)
        encoding = _encoding(head)
        if encoding is None:
            raise not_xyz(path, "it is a binary file", head)
        with _open(path) as file, TextIOWrapper(file, encoding, errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                yield line if line.isascii() else _repaired(line, number, notes)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise UserError(f"is damaged: {error}", str(path), "Copy or compress the file again") from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", str(path)) from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        start = file.read(6)
    for magic, unpack in _COMPRESSED.items():
        if start.startswith(magic):
            unpacked: IO[bytes] = unpack(path)
            return unpacked
    return path.open("rb")


def _encoding(head: bytes) -> str | None:
    """Return the encoding that the first bytes of a file tell; None if they are not those of a text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) > 3 and not any(head[start::2]) and all(head[1 - start : -1 : 2]):
            return encoding
    return None if b"\0" in head else "utf-8-sig"


def _repaired(line: str, number: int, notes: Notes) -> str:
    """Return a line with bytes that are not UTF-8 read as Windows does in Western Europe (Latin-1 with quotes)."""
    try:
        line.encode("utf-8")
    except UnicodeEncodeError as error:
        raw = line.encode("utf-8", "surrogateescape")
        place = len(line[: error.start].encode("utf-8"))
        notes.setdefault(
            "encoding",
            f"line {number} is not UTF-8 at its byte {place + 1} (0x{raw[place]:02x}) and was read as Latin-1: "
            "texts may have wrong letters, numbers have not",
        )
        try:
            return raw.decode("cp1252")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return line
