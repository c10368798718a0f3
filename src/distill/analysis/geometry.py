"""Distances between atoms, under the periodicity of each structure.

Two atoms much closer than their covalent radii add up to are the plainest sign of broken data or a broken simulation,
so distances come with that ratio, which has the same meaning for every pair of elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch


@dataclass(frozen=True)
class Pairs:
    """Pairs of atoms within a cut-off, each once; periodic images count as atoms. All fields are ``[P]``.

    Attributes:
        structure: index of the structure of each pair.
        numbers: atomic numbers of both atoms, ``[P, 2]``, the smaller first.
        distance: Å.
    """

    structure: Array
    numbers: Array
    distance: Array

    @property
    def ratio(self) -> Array:
        """Distances divided by the sum of both covalent radii (Cordero et al., Dalton Trans. 2008, 2832), ``[P]``."""
        return self.distance / covalent_radii[self.numbers].sum(axis=1)


@dataclass(frozen=True)
class Closest:
    """The closest pair of each of ``B`` structures; infinite where no pair is within the cut-off.

    Attributes:
        distance: shortest distance, ``[B]`` Å.
        ratio: smallest distance in units of the sum of covalent radii, ``[B]``; with several elements this may be
            another pair than the shortest.
    """

    distance: Array
    ratio: Array


def find_pairs(frames: Frames, cutoff: float) -> Pairs:
    """Return all pairs of atoms closer than ``cutoff`` Å, an atom's own periodic images included."""
    search = NeighbourSearch(cutoff)
    structure, numbers, distance = [], [], []
    for index, one in enumerate(frames):
        if not len(one.numbers):
            continue
        i, j, d = search.pairs(one.positions, one.cells[0], one.pbc[0], "ijd")
        structure.append(np.full(len(d), index))
        numbers.append(np.sort(one.numbers[np.stack([i, j], axis=1).astype(np.int64)], axis=1))
        distance.append(d)
    if not distance:
        return Pairs(np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.int64), np.zeros(0))
    return Pairs(np.concatenate(structure), np.concatenate(numbers), np.concatenate(distance))


def closest_pairs(frames: Frames, cutoff: float = 5.0) -> Closest:
    """Return the closest approach in each structure; pairs beyond ``cutoff`` Å are not looked for."""
    pairs = find_pairs(frames, cutoff)
    distance, ratio = np.full((2, len(frames)), np.inf)
    np.minimum.at(distance, pairs.structure, pairs.distance)
    np.minimum.at(ratio, pairs.structure, pairs.ratio)
    return Closest(distance, ratio)
