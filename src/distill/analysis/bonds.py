"""Bonds of one structure as a graph: which atoms they join, through which face of the cell, and along which vector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch


@dataclass(frozen=True)
class Bonds:
    """``E`` directed bonds between the ``atoms`` chosen ones of one structure, in the order of the first atom.

    Attributes:
        atoms: how many atoms may have bonds.
        i: first atom of each bond, counted among them, ``[E]``.
        j: second atom, ``[E]``.
        translations: of the lattice, from the second atom to the one that is bonded, ``[E, 3]`` integers.
        vectors: from the first to the second atom, ``[E, 3]`` Å.
    """

    atoms: int
    i: Array
    j: Array
    translations: Array
    vectors: Array

    @property
    def lengths(self) -> Array:
        """Length of each bond, ``[E]`` Å."""
        return np.asarray(np.linalg.norm(self.vectors, axis=1))

    def select(self, chosen: Array) -> Bonds:
        """Return the bonds that are chosen by booleans or indices, in the order of the first atom."""
        order = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        order = order[np.argsort(self.i[order], kind="stable")]
        return Bonds(self.atoms, self.i[order], self.j[order], self.translations[order], self.vectors[order])

    def followers(self) -> tuple[Array, Array]:
        """Return all pairs of bonds that begin at one atom, each pair once: indices of both, ``[P]``."""
        last = np.searchsorted(self.i, self.i, side="right")
        return spread(np.arange(len(self.i)) + 1, last)


def spread(begin: Array, end: Array) -> tuple[Array, Array]:
    """Return for all ranges ``begin`` to ``end`` (not included) which range it is and every number in it, ``[P]``."""
    sizes = np.maximum(end - begin, 0)
    of = np.repeat(np.arange(len(sizes)), sizes)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + begin[of]


def within(frame: Frames, chosen: Array, radius: float) -> Bonds:
    """Return the bonds in both directions between chosen atoms that are within a radius; images count as atoms.

    Args:
        frame: one structure.
        chosen: which of its atoms, ``[n]`` booleans.
        radius: Å.
    """
    search = NeighbourSearch(radius, full=True)
    i, j, translations, vectors = search.pairs(frame.positions[chosen], frame.cells[0], frame.pbc[0], "ijSD")
    found = Bonds(int(chosen.sum()), i.astype(np.int64), j.astype(np.int64), translations.astype(np.int64), vectors)
    return found.select(np.arange(len(i)))
