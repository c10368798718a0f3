"""The least distance of two atoms: nothing closer is worth a call of the teacher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO
from distill.base.errors import UserError
from distill.sampling.rules import Distances
from distill.structures.neighbours import NeighbourSearch

REACH = 1.0
"""How far beyond the largest limit pairs are looked at, Å: their clearance saves looking again."""


class Separation:
    """Least distances by pair of elements.

    Args:
        minimum: one distance for all pairs, or distances by pair of elements such as ``{"O-H": 0.7}``, Å; pairs that
            are not named take :data:`~distill.base.conventions.CLOSEST_RATIO` of the sum of the covalent radii.
        elements: atomic numbers that occur.

    Raises:
        UserError: a key that is not a pair of elements.
    """

    def __init__(self, minimum: Distances, elements: tuple[int, ...]) -> None:
        radii = np.asarray(covalent_radii)
        self._table = CLOSEST_RATIO * (radii[:, None] + radii)
        if isinstance(minimum, Mapping):
            for name, distance in minimum.items():
                i, j = pair_of(name)
                self._table[i, j] = self._table[j, i] = distance
        elif minimum is not None:
            self._table[:] = minimum
        largest = float(self._table[np.ix_(elements, elements)].max())
        self._neighbours = NeighbourSearch(largest + REACH) if largest > 0 else None

    def closest(self, numbers: Array, positions: Array, cell: Array, pbc: Array) -> tuple[int, int, float] | None:
        """Return the pair of atoms (i, j, distance in Å) that falls furthest below its limit, or None.

        Periodic images count, also those of the same atom.
        """
        i, j, distance, clearance = self._pairs(numbers, positions, cell, pbc)
        worst = int(np.argmin(clearance)) if len(clearance) else 0
        if not len(clearance) or clearance[worst] >= 0:
            return None
        return int(i[worst]), int(j[worst]), float(distance[worst])

    def clearance(self, numbers: Array, positions: Array, cell: Array, pbc: Array) -> float:
        """Return by how much any two atoms could come closer, at least, before they are too close, Å.

        Negative where two atoms are too close already; 1 Å at most, because pairs farther apart are not looked at.
        """
        return float(np.min(self._pairs(numbers, positions, cell, pbc)[3], initial=REACH))

    def _pairs(self, numbers: Array, positions: Array, cell: Array, pbc: Array) -> tuple[Array, Array, Array, Array]:
        """Return atoms i and j, distances and distances above the limit of all pairs that are near their limit."""
        if self._neighbours is None:
            return (np.zeros(0),) * 4
        i, j, distance = self._neighbours.pairs(positions, cell, pbc, "ijd")
        i, j = i.astype(np.int64), j.astype(np.int64)
        return i, j, distance, distance - self._table[numbers[i], numbers[j]]


def pair_of(name: str) -> tuple[int, int]:
    """Return the atomic numbers of a pair such as ``"O-H"``; raises UserError where it is none."""
    symbols = name.split("-")
    if len(symbols) != 2 or any(s == "X" or s not in atomic_numbers for s in symbols):
        raise UserError(f"{name!r} is not a pair of elements such as O-H", where="min_separation")
    return atomic_numbers[symbols[0]], atomic_numbers[symbols[1]]
