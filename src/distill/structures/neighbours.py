"""The one place that asks for neighbours, behind the guard against what the library cannot stand."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from vesin import NeighborList

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO
from distill.structures.frames import Frames
from distill.structures.guard import UnphysicalResult, UnphysicalStructure, first_fault, named, refuse_coincident
from distill.structures.periodic import whole_cells


class NeighbourSearch:
    """Finds the pairs of atoms of one structure after another that are within a cutoff.

    Args:
        cutoff: Å.
        full: whether each pair is given in both directions.
    """

    def __init__(self, cutoff: float, *, full: bool = False) -> None:
        self.cutoff = cutoff
        self._search = NeighborList(cutoff=cutoff, full_list=full)

    def pairs(self, positions: Array, cell: Array, pbc: Array, quantities: str) -> list[Array]:
        """Return what is asked for of all pairs within the cutoff; periodic images count, also those of the same atom.

        Args:
            positions: ``[n, 3]`` Å.
            cell: ``[3, 3]`` Å.
            pbc: periodic directions, ``[3]``.
            quantities: letters as ASE has them: i and j the atoms, P both, S the lattice translations, d the distances.

        Raises:
            UnphysicalStructure: positions or cell are not finite, or the cell is degenerate or too dense.
        """
        fault = first_fault(positions, cell[None], pbc[None], np.array([len(positions)]), self.cutoff)
        if fault is not None:
            _, what, remedy = fault
            raise UnphysicalStructure(what, remedy=remedy)
        return self.guarded(positions, cell, pbc, quantities)

    def guarded(self, positions: Array, cell: Array, pbc: Array, quantities: str) -> list[Array]:
        """Return what :meth:`pairs` does for a structure that the guard has let through."""
        box = cell if pbc.all() else whole_cells(cell[None], pbc[None])[0]
        found: list[Array] = self._search.compute(positions, box=box, periodic=pbc, quantities=quantities, copy=True)
        return found


def not_finite(frames: Frames, potential: str) -> UnphysicalResult:
    """Return the error that says that the numbers of one structure are not finite, with the likely cause.

    Args:
        frames: the structure.
        potential: what gave the numbers, for the message.

    Raises:
        UnphysicalStructure: two of its atoms are at one place.
    """
    radii = covalent_radii[frames.numbers]
    search = NeighbourSearch(2 * CLOSEST_RATIO * float(radii.max(initial=0.0)))
    pairs, distances = search.pairs(frames.positions, frames.cells[0], frames.pbc[0], "Pd")
    pairs = pairs.astype(np.int64)
    refuse_coincident(frames, pairs.T, distances)
    where = f"{potential}, {named(frames, 0)}"
    what = "energy, forces or stress are not finite"
    ratios = distances / radii[pairs].sum(axis=1)
    if not (ratios < CLOSEST_RATIO).any():
        return UnphysicalResult(what, where, "The potential seems to be broken: see whether its training diverged")
    k = int(np.argmin(ratios))
    close = f"Atoms {pairs[k, 0]} and {pairs[k, 1]} (counted from 0) are {distances[k]:.2g} Å apart"
    return UnphysicalResult(what, where, f"{close}: correct the structure, or shorten the time step")
