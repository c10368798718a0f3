"""An append-only file of checksummed records, so that a killed run continues where it stopped.

Every line holds the CRC-32 of a JSON text and the text. What follows the first damaged line is dropped on opening. A
second file, the mark, is such a line of its own and says what was under way when the journal had a certain length: what
the journal holds beyond is dropped too, so that growth goes on from a state in which it once was, and calls the teacher
with the same structures side by side. Where no mark fits, what was under way begins again.
"""

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.files import sync

MAGIC = b"distill growth journal 2\n"

SYNC_S = 2.0
"""Records reach the operating system at once, which outlives the process, and the disk within this time."""

Record = dict[str, Any]


class Journal:
    """A journal that is open for reading back and appending.

    Args:
        path: the file; made where it does not exist. Raises UserError where it is some other file.

    Attributes:
        note: what was dropped as damaged, for people; None where the file was whole. Known after :meth:`replay`.
        under_way: what was under way behind the last record; None where that is not known. Known after :meth:`replay`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note: str | None = None
        self.under_way: Record | None = None
        self._mark = path.with_name(f"{path.name}.mark")
        self._synced = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("r+b" if path.exists() else "w+b")
        start = self._file.read(len(MAGIC))
        if not MAGIC.startswith(start):
            self._file.close()
            raise UserError("not a growth journal", where=str(path), remedy="Move the file away")
        if start != MAGIC:
            self._truncate(0)
            self._write(MAGIC)
            sync(path.parent)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sync()
        self._file.close()

    def replay(self) -> Iterator[Record]:
        """Yield the records up to the mark or the first damaged one; cut the file there. Exhaust before appending."""
        self._file.seek(len(MAGIC))
        good = len(MAGIC)
        mark = _read_mark(self._mark)
        for line in self._file:
            if mark and good == mark["length"]:
                break
            record = _decode(line)
            if record is None:
                break
            good += len(line)
            yield record
        marked = mark is not None and mark["length"] == good
        self.under_way = mark["under_way"] if mark and marked else None
        lost = os.fstat(self._file.fileno()).st_size - good
        if lost and marked:
            self._truncate(good)
        elif lost:
            self.note = f"{self.path.name}: dropped an unfinished or damaged end of {lost} bytes; it is made again"
            self._truncate(good)

    def append(self, records: Iterable[Record]) -> None:
        """Write records; they count from the next :meth:`mark` on, or where there is none."""
        lines = b"".join(_encode(record) for record in records)
        if lines:
            self._write(lines)

    def mark(self, under_way: Record) -> None:
        """Keep what is under way now, instead of what the last mark said.

        A kill of the process loses what came after the mark, a failure of the machine what came in two seconds at most.
        """
        self._file.seek(0, os.SEEK_END)
        temporary = self._mark.with_name(f".writing-{self._mark.name}")
        temporary.write_bytes(_encode({"length": self._file.tell(), "under_way": under_way}))
        temporary.replace(self._mark)

    def _write(self, data: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_S:
            self._sync()

    def _truncate(self, length: int) -> None:
        self._file.truncate(length)
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def _read_mark(path: Path) -> Record | None:
    """Return the mark, or None where there is none or it is damaged."""
    return _decode(path.read_bytes()) if path.exists() else None


def _encode(record: Record) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _decode(line: bytes) -> Record | None:
    """Return the record of a line, or None where the line is damaged or torn."""
    if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(line[9:-1]):
        return None
    return json.loads(line[9:-1])


def pack(array: Array | None) -> str | None:
    """Return an array of floats as text that keeps every bit."""
    return None if array is None else base64.b64encode(np.asarray(array, dtype="<f8").tobytes()).decode()


def unpack(text: str, *shape: int) -> Array:
    """Return the array of ``shape`` that :func:`pack` made into text."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").reshape(shape).astype(np.float64)
