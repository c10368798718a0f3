"""Where the repulsion of nuclei begins: the shortest distances that the data show."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols

from distill.base.arrays import Array
from distill.potentials.interface.batch import distances, half_neighbour_list
from distill.structures.frames import Frames


def shortest_distances(frames: Frames, reach: float) -> dict[str, float]:
    """Return the shortest distance of each pair of elements within ``reach``, Å, by their names as in ``"O Si"``.

    Structures of two atoms, such as dimers that were made to show the repulsion, do not count where others show the
    pair of elements.
    """
    names, distances, structure = _pairs(frames, reach)
    found: dict[str, float] = {}
    for name in np.unique(names):
        own = distances[names == name]
        dense = own[frames.n_atoms[structure[names == name]] > 2]
        found[str(name)] = float((dense if len(dense) else own).min())
    return found


def closer_than(frames: Frames, limits: dict[str, float], reach: float) -> Array:
    """Return whether two atoms of each structure are closer than the limit of their elements, ``[B]``."""
    names, distances, structure = _pairs(frames, reach)
    closer = np.zeros(len(frames), dtype=bool)
    near = distances < np.array([limits.get(str(name), 0.0) for name in names]).reshape(len(names))
    closer[structure[near]] = True
    return closer


def _pairs(frames: Frames, reach: float) -> tuple[Array, Array, Array]:
    """Return the elements of each pair of neighbours as text, its length in Å, and its structure."""
    edges, shifts = half_neighbour_list(frames, reach)
    i, j = edges
    symbols = np.array(chemical_symbols)
    first, second = symbols[frames.numbers[i]], symbols[frames.numbers[j]]
    swap = first > second
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    return np.char.add(np.char.add(first, " "), second), distances(frames, edges, shifts), frames.structure_of_atom[i]
