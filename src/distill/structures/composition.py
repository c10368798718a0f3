"""What structures are made of: counts of elements, and which structures have one composition."""

from __future__ import annotations

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames


def element_counts(frames: Frames) -> Array:
    """Return how many atoms of each of ``frames.elements`` every structure has, ``[B, elements]``."""
    counts = np.zeros((len(frames), len(frames.elements)), dtype=np.int64)
    np.add.at(counts, (frames.structure_of_atom, np.searchsorted(frames.elements, frames.numbers)), 1)
    return counts


def reduced_counts(frames: Frames) -> Array:
    """Return the counts of elements divided by their greatest common divisor, ``[B, elements]``."""
    counts = element_counts(frames)
    return np.asarray(counts // np.maximum(np.gcd.reduce(counts, axis=1), 1)[:, None])


def by_formula(frames: Frames) -> list[Array]:
    """Return the indices of the structures of each reduced formula."""
    if not len(frames):
        return []
    _, formula = np.unique(reduced_counts(frames), axis=0, return_inverse=True)
    return [np.flatnonzero(formula.ravel() == f) for f in range(formula.max() + 1)]
