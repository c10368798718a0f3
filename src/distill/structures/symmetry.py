"""Which forces symmetry forbids, from the neighbours of each atom alone."""

from __future__ import annotations

import numpy as np
from ase.geometry import complete_cell
from vesin import NeighborList

from distill.base.arrays import Array
from distill.structures.frames import Frames

REACH = 6.0
"""Å; what is further away is not looked at, so that a symmetry that it breaks counts as kept."""
WIDTHS = (1.0, 2.0, 4.0)
"""Å; decay lengths of the sums."""
NOTHING = 1e-3
"""Sums of an atom that moved by a thousandth of an Å are about as large; positions are often rounded to 1e-4 Å."""


def forces_allowed(frames: Frames) -> Array:
    """Return for which atoms ``[N]`` the surroundings single out a direction, so that a force of zero is a coincidence.

    Sums over neighbours of unit vectors, weighted by distance and element, transform as a force does: where a symmetry
    forbids a force all of them are zero. Where all of them are zero the force is called forbidden.
    """
    if not len(frames):
        return np.zeros(0, dtype=np.bool_)
    search = NeighborList(cutoff=REACH, full_list=True)
    found = []
    for one in frames:
        box = one.cells[0] if one.pbc[0].all() else complete_cell(one.cells[0])
        i, j, distance, vector = search.compute(one.positions, box, one.pbc[0], "ijdD")
        directions = vector / np.maximum(distance, 1e-6)[:, None]
        sums = np.zeros((len(one.numbers), len(WIDTHS), 3))
        for k, width in enumerate(WIDTHS):
            weights = np.exp(-distance / width) * (1 - (distance / REACH) ** 2) * np.sqrt(one.numbers[j])
            np.add.at(sums[:, k], i, weights[:, None] * directions)
        found.append(np.linalg.norm(sums, axis=2).max(axis=1) > NOTHING)
    return np.concatenate(found)
