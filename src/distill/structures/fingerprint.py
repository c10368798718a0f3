"""A short vector for each structure that does not depend on how it is written down, to tell how different two are.

For each pair of elements it is a smoothed histogram of distances, as an average over atoms: rotated, moved, reordered
and repeated structures have the same one. These are radial symmetry functions (G2 of Behler and Parrinello, Phys. Rev.
Lett. 98, 146401, 2007), averaged over atoms as in the fingerprints of Oganov and Valle (J. Chem. Phys. 130, 104504,
2009).
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames
from distill.structures.neighbours import NeighbourSearch

CUTOFF = 6.0
"""Å; the first two or three shells."""
CENTRES = np.linspace(0.8, 5.6, 17)
"""Å; 0.3 Å apart."""
WIDTH = 0.3
"""Å; standard deviation of the Gaussians, so that neighbouring ones overlap."""


def fingerprints(frames: Frames) -> Array:
    """Return one fingerprint per structure, ``[B, pairs of elements * centres]``, without units.

    For elements A and B and centre c it is, over the number of all atoms, the sum over pairs of atoms of A and B of
    ``exp(-(r - c)² / 2 w²) fc(r) / (4 pi (c / 3 Å)²)`` with a cosine cutoff ``fc``: the surface of the sphere keeps far
    shells from outweighing near ones.
    """
    pairs = list(combinations_with_replacement(frames.elements, 2))
    column = {pair: k for k, pair in enumerate(pairs)}
    table = np.zeros((119, 119), dtype=np.int64)
    for a, b in pairs:
        table[a, b] = table[b, a] = column[a, b]
    search = NeighbourSearch(CUTOFF, full=True)
    offsets = frames.offsets
    result = np.zeros((len(frames), len(pairs), len(CENTRES)))
    for i in range(len(frames)):
        atoms = slice(offsets[i], offsets[i + 1])
        one, other, r = search.pairs(frames.positions[atoms], frames.cells[i], frames.pbc[i], "ijd")
        numbers = frames.numbers[atoms]
        cutoff = 0.5 * (1 + np.cos(np.pi * np.minimum(r / CUTOFF, 1)))
        smooth = np.exp(-((r[:, None] - CENTRES) ** 2) / (2 * WIDTH**2)) * cutoff[:, None]  # (P, K)
        kinds = table[numbers[one], numbers[other]]
        for kind in np.unique(kinds):
            result[i, kind] = smooth[kinds == kind].sum(axis=0) / len(numbers)
    return np.asarray((result / (4 * np.pi * (CENTRES / 3.0) ** 2)).reshape(len(frames), -1))
