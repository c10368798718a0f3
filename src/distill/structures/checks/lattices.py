"""Find structures whose lattice is missing: a crystal or a liquid that is read as a cluster in vacuum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distill.base.arrays import Array
from distill.structures.checks.finding import FileFrames, Finding
from distill.structures.frames import Frames

MOLECULAR = (1, 2, 5, 6, 7, 8, 9, 10, 15, 16, 17, 18, 34, 35, 36, 53, 54)
"""Elements of molecules: others, alone or with oxygen and the like but without hydrogen, rarely are clusters."""
CLUSTER = 4
"""Atoms; smaller ones are calculated in vacuum for their own sake."""

_REMEDY = 'Write Lattice="..." (nine numbers, Å) for what is periodic; nothing is wrong with clusters in vacuum'


def check_lattices(data: FileFrames) -> Iterator[Finding]:
    """Structures without a lattice beside periodic ones of the same atoms, or of elements that form no molecules."""
    frames = data.frames
    free = ~frames.pbc.any(axis=1) & (frames.n_atoms >= CLUSTER)
    if not free.any():
        return
    beside = free & np.isin(_formulas(frames), _formulas(frames)[frames.pbc.all(axis=1)])
    if beside.any():
        what = "has no Lattice, which others of the same atoms have, and is read as a cluster in vacuum"
        yield data.finding("error", "length-unit", what, _REMEDY, beside)
    elif free.all() and 1 not in frames.elements and not set(frames.elements) <= set(MOLECULAR):
        what = "no structure has a Lattice: all are read as clusters in vacuum"
        yield data.finding("warning", "length-unit", what, _REMEDY)


def _formulas(frames: Frames) -> Array:
    """Return the atoms of each structure as one text, ``[B]``."""
    parts = np.split(frames.numbers, frames.offsets[1:-1])
    return np.array([" ".join(map(str, np.sort(part))) for part in parts])
