"""How tetrahedral the four nearest neighbours of an atom stand, the order that water, silicon and silica share."""

from __future__ import annotations

import numpy as np

from distill.analysis.elements import of_element
from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch


def tetrahedral_order(frames: Frames, element: str | None = None, *, radius: float = 5.0) -> Array:
    """Return q = 1 - 3/8 Σ (cos ψ + 1/3)² over the six angles between the four nearest neighbours, ``[M]``.

    J. R. Errington, P. G. Debenedetti, Nature 409, 318 (2001): 1 for a tetrahedron, 0 on average for directions without
    order. One number for each atom of the element, all structures one after another; NaN for fewer than four
    neighbours within the radius.

    Args:
        frames: the structures.
        element: of the atoms and of their neighbours, as O in water; None: all atoms.
        radius: up to which neighbours are looked for, Å.

    Raises:
        UserError: there is no atom of the element.
    """
    chosen = of_element(frames, element)
    search = NeighbourSearch(radius, full=True)
    orders = []
    for k in range(len(frames)):
        mine = chosen[frames.offsets[k] : frames.offsets[k + 1]]
        one = frames[k]
        i, distances, vectors = search.pairs(one.positions[mine], one.cells[0], one.pbc[0], "idD")
        orders.append(_order(i.astype(np.int64), distances, vectors, int(mine.sum())))
    return np.concatenate(orders)


def _order(i: Array, distances: Array, vectors: Array, atoms: int) -> Array:
    """Return q of each atom from the neighbours of all."""
    by_distance = np.lexsort((distances, i))
    i, directions = i[by_distance], (vectors / distances[:, None])[by_distance]
    first = np.searchsorted(i, np.arange(atoms))
    enough = np.bincount(i, minlength=atoms) >= 4
    four = directions[first[enough][:, None] + np.arange(4)]  # (M, 4, 3)
    rows, columns = np.triu_indices(4, 1)
    cosines = np.einsum("mik,mjk->mij", four, four)[:, rows, columns]
    found = np.full(atoms, np.nan)
    found[enough] = 1 - 3 / 8 * ((cosines + 1 / 3) ** 2).sum(axis=1)
    return found
