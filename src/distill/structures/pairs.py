"""Isolated pairs of atoms at given distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames

Pair = tuple[int, int]
"""Two atomic numbers, the smaller first."""


def pairs_of(elements: Iterable[int]) -> list[Pair]:
    """Return every pair of elements, equal ones included, in ascending order; repeats are ignored."""
    return list(combinations_with_replacement(sorted(set(elements)), 2))


def pairs_at(pairs: Sequence[Pair], distances: Sequence[Array]) -> Frames:
    """Return one structure for each pair and each of its distances, ordered by pair; the bond lies along x, no cell.

    Args:
        pairs: the elements.
        distances: of each pair, ``[P]`` Å, equally many.
    """
    flat = np.ravel(distances)
    positions = np.zeros((len(flat), 2, 3))
    positions[:, 1, 0] = flat
    each = len(flat) // max(len(pairs), 1)
    return Frames(
        n_atoms=np.full(len(flat), 2),
        numbers=np.repeat(np.reshape(pairs, (-1, 2)), each, axis=0).ravel().astype(int),
        positions=positions.reshape(-1, 3),
        cells=np.zeros((len(flat), 3, 3)),
        pbc=np.zeros((len(flat), 3), dtype=bool),
        info=tuple({"config_type": "dimer"} for _ in flat),
    )
