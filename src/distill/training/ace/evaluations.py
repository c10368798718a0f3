"""What a minimiser asked for, kept on disk, so that a repeated minimisation takes the same path without computing it.

BFGS builds its inverse Hessian from all gradients so far, and its line search looks at the losses before. Both follow
from what was asked and answered; to be given the same answers again is to be in the same state, to the bit.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from distill.base.arrays import Array

Evaluate = Callable[[Array], tuple[float, Array]]
"""Returns loss and gradient ``[C]`` at coefficients ``[C]``."""

_CHECK = 4
"""Bytes of the length, and of the CRC-32, before each record."""


class Evaluations:
    """Loss and gradient by ``compute``, from the file as long as the same is asked in the same order.

    Args:
        path: the file; what is damaged at its end, or was asked for otherwise, is computed again.
        compute: loss and gradient.
    """

    def __init__(self, path: Path, compute: Evaluate) -> None:
        self.path, self.compute = path, compute
        self._known = _records(path.read_bytes()) if path.exists() else iter(())
        self._good = 0

    def __call__(self, coefficients: Array) -> tuple[float, Array]:
        """Return loss and gradient ``[C]`` at ``coefficients`` ``[C]``."""
        asked = hashlib.sha256(np.ascontiguousarray(coefficients, dtype="<f8").tobytes()).digest()
        record = next(self._known, None)
        if record is not None and record.startswith(asked):
            self._good += _CHECK * 2 + len(record)
            values = np.frombuffer(record[len(asked) :], dtype="<f8").astype(np.float64)
            return float(values[0]), values[1:]
        self._known = iter(())
        loss, gradient = self.compute(coefficients)
        self._append(asked + np.array([loss, *gradient], dtype="<f8").tobytes())
        return loss, gradient

    def _append(self, record: bytes) -> None:
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.truncate(self._good)
            file.seek(self._good)
            file.write(len(record).to_bytes(_CHECK, "little") + zlib.crc32(record).to_bytes(_CHECK, "little") + record)
        self._good += _CHECK * 2 + len(record)


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records before the first that is damaged or torn."""
    at = 0
    while at + 2 * _CHECK <= len(content):
        length = int.from_bytes(content[at : at + _CHECK], "little")
        check = int.from_bytes(content[at + _CHECK : at + 2 * _CHECK], "little")
        record = content[at + 2 * _CHECK : at + 2 * _CHECK + length]
        if len(record) != length or zlib.crc32(record) != check:
            return
        yield record
        at += 2 * _CHECK + length
