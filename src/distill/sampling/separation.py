"""The least distance of two atoms: nothing closer is worth a call of the teacher."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from vesin import NeighborList

from distill.structures.frames import Array

FRACTION_OF_BOND = 0.6
"""Default least distance in units of the sum of the covalent radii: far up the repulsive wall (Si 1.33 Å, O-H 0.58 Å),
below anything met at the temperatures of molecular dynamics."""


class Separation:
    """Least distances by pair of elements.

    Args:
        minimum: one distance for all pairs, Å; None takes 0.6 of the sum of the covalent radii
            (Cordero et al., Dalton Trans. 2832 (2008)).
        elements: atomic numbers that occur.
    """

    def __init__(self, minimum: float | None, elements: tuple[int, ...]) -> None:
        radii = np.asarray(covalent_radii)
        table = FRACTION_OF_BOND * (radii[:, None] + radii)
        self._table = table if minimum is None else np.full_like(table, minimum)
        cutoff = float(self._table[np.ix_(elements, elements)].max())
        self._neighbours = NeighborList(cutoff=cutoff, full_list=False) if cutoff > 0 else None

    def closest(self, numbers: Array, positions: Array, cell: Array, pbc: Array) -> tuple[int, int, float] | None:
        """Return the pair of atoms (i, j, distance in Å) that falls furthest below its limit, or None.

        Periodic images count, also those of the same atom.
        """
        if self._neighbours is None:
            return None
        i, j, distance = self._neighbours.compute(positions, cell, pbc, "ijd")
        limits = self._table[numbers[i.astype(np.int64)], numbers[j.astype(np.int64)]]
        ratio = distance / limits
        if not np.any(ratio < 1):
            return None
        worst = int(np.argmin(ratio))
        return int(i[worst]), int(j[worst]), float(distance[worst])
