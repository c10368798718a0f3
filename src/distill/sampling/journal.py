"""An append-only file of checksummed records, so that a killed run continues where it stopped.

Every line holds the CRC-32 of a JSON text and the text. What follows the first damaged line is dropped on opening: the
growth is deterministic, so dropped records are made again, equal to the bit.
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
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note: str | None = None
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
        """Yield the records in order; cut the file where the first damaged one begins. Exhaust before appending."""
        self._file.seek(len(MAGIC))
        good = len(MAGIC)
        for line in self._file:
            record = _decode(line)
            if record is None:
                break
            good += len(line)
            yield record
        lost = os.fstat(self._file.fileno()).st_size - good
        if lost:
            self.note = f"{self.path.name}: dropped an unfinished or damaged end of {lost} bytes; it is made again"
            self._truncate(good)

    def append(self, records: Iterable[Record]) -> None:
        """Write records; a kill of the process loses none, a failure of the machine those of two seconds at most."""
        lines = b"".join(_encode(record) for record in records)
        if lines:
            self._write(lines)

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
