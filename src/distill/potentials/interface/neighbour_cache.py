"""Lists of neighbours that are kept on disk by content, so that students, seeds and later runs share them.

Only lists that took a while are kept, the ones used last, up to :data:`LIMIT` bytes. What cannot be read or written is
found again: nothing depends on the cache but time.
"""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from distill.base.arrays import Array
from distill.base.files import cache_folder, replacing
from distill.potentials.interface.batch import half_neighbour_list
from distill.structures.frames import Frames

MANY_ATOMS = 5000
"""Fewer atoms than this have their neighbours found in a fraction of a second, and nothing is kept."""

LIMIT = 4 * 1024**3
"""Bytes that all lists together may take on disk."""


def cached_neighbour_list(frames: Frames, cutoff: float) -> tuple[Array, Array]:
    """Return the edges between atoms nearer than ``cutoff`` Å as ``batch.half_neighbour_list`` does."""
    if len(frames.numbers) < MANY_ATOMS:
        return half_neighbour_list(frames, cutoff)
    path = cache_folder() / "neighbours" / f"{content_key(frames, cutoff)}.npz"
    found = _read(path)
    if found is None:
        found = half_neighbour_list(frames, cutoff)
        _write(path, *found)
    return found


def content_key(frames: Frames, cutoff: float) -> str:
    """Return the name of a list: what it depends on, hashed, with the version of the library that makes it."""
    digest = hashlib.sha256(f"{version('vesin')} {cutoff!r}".encode())
    for array in (frames.n_atoms, frames.positions, frames.cells, frames.pbc):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[Array, Array] | None:
    """Return the list in a file and mark it as used, or None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            edges, shifts = stored["pairs"].astype(np.int64), stored["shifts"].astype(np.int32)
        os.utime(path)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile):
        return None
    return edges, shifts


def _write(path: Path, edges: Array, shifts: Array) -> None:
    """Keep a list, if the disk allows, in the place of those not used for longest."""
    small = shifts.astype(np.int8) if np.abs(shifts).max(initial=0) < 128 else shifts
    try:
        with replacing(path) as temporary:
            np.savez(temporary, pairs=edges.astype(np.int32), shifts=small)
        _make_room(path.parent)
    except OSError:
        return


def _make_room(folder: Path) -> None:
    """Remove the lists that were not used for longest until the others fit."""
    files = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    room = LIMIT
    for file in files:
        room -= file.stat().st_size
        if room < 0:
            file.unlink(missing_ok=True)
