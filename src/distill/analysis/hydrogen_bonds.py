"""Hydrogen bonds by distance and angle: how many every molecule accepts and donates, and the network that they are.

The criterion is geometric: donor and acceptor are within 3.5 Å and the hydrogen stands off the line between them by
less than 30°, seen from the donor (A. Luzar, D. Chandler, Phys. Rev. Lett. 76, 928 (1996)). A hydrogen belongs to the
nearest atom that can donate, whatever the order of atoms, so that proton transfer is no matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.analysis.bonds import Bonds, spread, within
from distill.analysis.elements import of_element
from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch

COVALENT = 1.5
"""Distance from the nearest donor up to which a hydrogen belongs to it, Å: half of a hydrogen bond is 1.25."""
LONGEST = 3.5
"""Distance of donor and acceptor, Å."""
WIDEST = 30.0
"""Angle hydrogen-donor-acceptor, degrees."""


@dataclass(frozen=True)
class HydrogenBonds:
    """Hydrogen bonds of ``M`` molecules: all of the first frame, then those of the next.

    Attributes:
        accepted: bonds that each accepts, ``[M]`` integers.
        donated: bonds that each donates, ``[M]`` integers.
    """

    accepted: Array
    donated: Array

    @property
    def per_molecule(self) -> float:
        """Bonds over molecules: 2 in ice, where each has four that it shares with a neighbour."""
        return float(self.donated.mean())

    def share(self, accepted: int, donated: int) -> float:
        """Return the share of molecules that accept and donate so many, 0 to 1."""
        return float(((self.accepted == accepted) & (self.donated == donated)).mean())

    def shares(self, most: int = 4) -> Array:
        """Return the shares of AxDy, rows x and columns y from 0 to ``most``, where more are counted too."""
        both = np.minimum([self.accepted, self.donated], most)
        counts = np.bincount(both[0] * (most + 1) + both[1], minlength=(most + 1) ** 2)
        return np.asarray(counts.reshape(most + 1, most + 1) / len(self.accepted))


def hydrogen_bonds(
    frames: Frames, element: str = "O", *, longest: float = LONGEST, widest: float = WIDEST
) -> HydrogenBonds:
    """Return how many hydrogen bonds every atom of an element accepts and donates; those without any count.

    Args:
        frames: the structures.
        element: of donors and acceptors.
        longest: distance of donor and acceptor, Å.
        widest: angle hydrogen-donor-acceptor, degrees.

    Raises:
        UserError: no structure has the element or hydrogen.
    """
    accepted, donated = [], []
    for network in networks(frames, element, longest=longest, widest=widest):
        accepted.append(np.bincount(network.j, minlength=network.atoms))
        donated.append(np.bincount(network.i, minlength=network.atoms))
    return HydrogenBonds(np.concatenate(accepted), np.concatenate(donated))


def networks(frames: Frames, element: str = "O", *, longest: float = LONGEST, widest: float = WIDEST) -> list[Bonds]:
    """Return the hydrogen bonds of each structure, from donor to acceptor, counted among the atoms of the element.

    Args and errors are those of :func:`hydrogen_bonds`.
    """
    if not (0 < longest < np.inf and 0 < widest <= 180):
        raise UserError(f"hydrogen bonds of {longest:g} Å and {widest:g}° cannot be", remedy="Leave out both numbers")
    heavy, hydrogen = of_element(frames, element), of_element(frames, "H")
    if element == "H":
        raise UserError("donors and acceptors of hydrogen bonds cannot be H", remedy="Name their element, as O")
    found = []
    for k in range(len(frames)):
        atoms = slice(frames.offsets[k], frames.offsets[k + 1])
        found.append(_network(frames[k], heavy[atoms], hydrogen[atoms], longest, widest))
    return found


def _network(frame: Frames, heavy: Array, hydrogen: Array, longest: float, widest: float) -> Bonds:
    """Return the hydrogen bonds of one structure."""
    donors, toward = _donors(frame, heavy, hydrogen)
    bonds = within(frame, heavy, longest)
    begin, end = (np.searchsorted(bonds.i, donors, side=side) for side in ("left", "right"))
    h, bond = spread(begin, end)  # every hydrogen with every neighbour of its donor
    cosines = np.einsum("pk,pk->p", toward[h], bonds.vectors[bond] / bonds.lengths[bond, None])
    return bonds.select(bond[cosines > np.cos(np.radians(widest))])


def _donors(frame: Frames, heavy: Array, hydrogen: Array) -> tuple[Array, Array]:
    """Return the donor of each bonded hydrogen, counted among the heavy atoms, and the direction from there."""
    used = heavy | hydrogen
    search = NeighbourSearch(COVALENT, full=True)
    i, j, distances, vectors = search.pairs(frame.positions[used], frame.cells[0], frame.pbc[0], "ijdD")
    i, j = i.astype(np.int64), j.astype(np.int64)
    of_hydrogen = np.flatnonzero(hydrogen[used][i] & heavy[used][j])
    order = of_hydrogen[np.lexsort((distances[of_hydrogen], i[of_hydrogen]))]
    nearest = order[np.unique(i[order], return_index=True)[1]]
    place = np.cumsum(heavy[used]) - 1
    return place[j[nearest]], -vectors[nearest] / distances[nearest, None]
