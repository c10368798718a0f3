"""How far a structure is from the members of its tree: the mean displacement of the atoms that may move.

Displacements are taken in the seed's cell (a strain is undone first) and by minimum image, which is exact for any cell:
the cell is reduced, and where rounding could miss the nearest image, the neighbouring images are compared too. Atoms
keep their names: two equal atoms that changed places count as displaced, and a molecule that turned as a whole too.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from ase.geometry import complete_cell, minkowski_reduce

from distill.base.arrays import Array

CHUNK = 24
"""Atoms that are compared at once before members that are already far enough are dropped."""


class SeedFrame:
    """The frame in which the members of one tree are compared.

    Args:
        cell: the seed's cell, ``[3, 3]`` Å; zero vectors where there is none.
        pbc: periodic directions, ``[3]``.
    """

    def __init__(self, cell: Array, pbc: Array) -> None:
        self.pbc = np.asarray(pbc, dtype=bool)
        periodic = np.where(self.pbc[:, None], cell, 0.0)  # the other directions become normal to these
        reduced, _ = minkowski_reduce(complete_cell(periodic), pbc=self.pbc)
        self.vectors: Array = np.asarray(reduced)
        self._inverse = np.linalg.inv(self.vectors)
        heights = 1 / np.linalg.norm(self._inverse, axis=0)
        self._safe = float(np.min(heights[self.pbc], initial=np.inf)) / 2

    def coordinates(self, positions: Array, deformation: Array | None = None) -> Array:
        """Return coordinates ``[n, 3]`` along the seed's reduced cell vectors, the ``deformation`` undone."""
        return positions @ (self._inverse if deformation is None else self.undoing(deformation))

    def undoing(self, deformation: Array) -> Array:
        """Return the matrix ``[3, 3]`` that takes positions in the deformed cell to coordinates."""
        return np.linalg.inv(deformation) @ self._inverse

    def distances(self, a: Array, b: Array) -> Array:
        """Return minimum-image distances in Å, ``[..., n]``, between coordinates ``[..., n, 3]``."""
        apart = a - b
        apart = apart - np.where(self.pbc, np.round(apart), 0.0)
        vectors = apart @ self.vectors
        distances = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
        doubtful = distances > self._safe
        if doubtful.any():
            images = vectors[doubtful][:, None] + self._images
            distances[doubtful] = np.sqrt(np.einsum("mki,mki->mk", images, images)).min(axis=1)
        return distances

    @cached_property
    def _images(self) -> Array:
        """Lattice vectors to the neighbouring cells, ``[k, 3]``: enough for a reduced cell."""
        ranges = [np.arange(-p, p + 1) for p in self.pbc.astype(int)]
        return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3) @ self.vectors


class Pool:
    """The coordinates of all members of one tree in one array.

    Args:
        frame: the frame of the coordinates.
        n_atoms: atoms of each member.
    """

    def __init__(self, frame: SeedFrame, n_atoms: int) -> None:
        self.frame = frame
        self._coordinates = np.empty((8, n_atoms, 3))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def coordinates(self) -> Array:
        """Coordinates of the members, ``[M, n, 3]``."""
        return self._coordinates[: self._size]

    def add(self, coordinates: Array) -> None:
        """Append one member's coordinates ``[n, 3]``."""
        if self._size == len(self._coordinates):
            self._coordinates = np.concatenate([self._coordinates, np.empty_like(self._coordinates)])
        self._coordinates[self._size] = coordinates
        self._size += 1

    def holds_similar(self, coordinates: Array, min_displacement: float, among: slice = slice(None)) -> bool:
        """Return whether a member ``among`` them is nearer than ``min_displacement`` Å on the mean over atoms.

        Atoms are compared in chunks: a member whose distances add up to enough is dropped early, which loses nothing.
        """
        n = len(coordinates)
        members = np.arange(self._size)[among]
        total = np.zeros(len(members))
        for start in range(0, n, CHUNK):
            chunk = slice(start, start + CHUNK)
            total += self.frame.distances(self._coordinates[members, chunk], coordinates[chunk]).sum(axis=1)
            near = total < min_displacement * n
            members, total = members[near], total[near]
            if not len(members):
                break
        return len(members) > 0

    def displacements(self, members: Array, others: Array) -> Array:
        """Return the mean displacement in Å of each member from the other of its pair, ``[len(members)]``."""
        pairs = zip(members, others, strict=True)
        return np.array([self.frame.distances(self._coordinates[i], self._coordinates[j]).mean() for i, j in pairs])
