"""Which forces symmetry forbids, from the neighbours of each atom alone."""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalStructure
from distill.structures.neighbours import NeighbourSearch

REACH = 6.0
"""Å; what is further away is not looked at, so that a symmetry that it breaks counts as kept."""
WIDTHS = (1.0, 2.0, 4.0)
"""Å; decay lengths of the sums."""
NOTHING = 1e-3
"""Sums of an atom that moved by a thousandth of an Å are about as large; positions are often rounded to 1e-4 Å."""


def forces_allowed(frames: Frames) -> Array:
    """Return for which atoms ``[N]`` the surroundings single out a direction, so that a force of zero is a coincidence.

    Sums over neighbours of unit vectors, weighted by distance and element, transform as a force does: where a symmetry
    forbids a force all of them are zero. Where all of them are zero the force is called forbidden, also in
    structures too dense to be searched.
    """
    if not len(frames):
        return np.zeros(0, dtype=np.bool_)
    search = NeighbourSearch(REACH, full=True)
    found = []
    for one in frames:
        try:
            i, j, distance, vector = search.pairs(one.positions, one.cells[0], one.pbc[0], "ijdD")
        except UnphysicalStructure:
            found.append(np.zeros(len(one.numbers), dtype=np.bool_))
            continue
        directions = vector / np.maximum(distance, 1e-6)[:, None]
        sums = np.zeros((len(one.numbers), len(WIDTHS), 3))
        for k, width in enumerate(WIDTHS):
            weights = np.exp(-distance / width) * (1 - (distance / REACH) ** 2) * np.sqrt(one.numbers[j])
            np.add.at(sums[:, k], i, weights[:, None] * directions)
        found.append(np.linalg.norm(sums, axis=2).max(axis=1) > NOTHING)
    return np.concatenate(found)
