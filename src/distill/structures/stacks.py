"""Structures of equally many atoms side by side, so that a file of many small ones is not looked at one by one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distill.base.arrays import Array
from distill.structures.frames import Frames

FEW = 200
"""Atoms up to which all pairs of a structure are looked at: lists of neighbours are slow in cells that are all but
empty."""
MOST_PAIRS = 500_000
"""Pairs of atoms that are looked at together: some 30 MB."""
WITHIN = 1e4
"""Å from the origin: structures that reach farther are looked at one by one, with more care."""


def stacks(frames: Frames, some: Array) -> Iterator[tuple[Array, Array]]:
    """Yield indices ``[M]`` of structures that have equally many atoms, and their atoms' indices ``[M, n]``.

    Args:
        frames: the structures.
        some: indices of those that are wanted, ascending.
    """
    offsets = frames.offsets
    for n in np.unique(frames.n_atoms[some]):
        members = some[frames.n_atoms[some] == n]
        most = max(1, MOST_PAIRS // max(1, int(n) ** 2))
        for start in range(0, len(members), most):
            chosen = members[start : start + most]
            yield chosen, offsets[chosen][:, None] + np.arange(n)


def are_simple(frames: Frames, cutoffs: Array) -> Array:
    """Return which structures ``[B]`` :func:`pair_distances` tells all neighbours of, up to a cutoff of each, ``[B]``.

    They have few atoms, which are near the origin, and are molecules, or crystals so wide that of all images of an atom
    one alone can be within the cutoff.
    """
    molecules, crystals = ~frames.pbc.any(axis=1), frames.pbc.all(axis=1) & (frames.volumes > 1e-3)
    wide = np.zeros(len(frames), dtype=np.bool_)
    inverses = np.linalg.inv(frames.cells[crystals])
    wide[crystals] = (1 / np.linalg.norm(inverses, axis=1)).min(axis=1, initial=np.inf) > 2 * cutoffs[crystals]
    reach = np.maximum.reduceat(np.abs(frames.positions).max(axis=1), frames.offsets[:-1])
    return np.asarray((molecules | wide) & (frames.n_atoms <= FEW) & (reach < WITHIN))


def pair_distances(frames: Frames, members: Array, atoms: Array) -> Array:
    """Return the distances ``[M, n, n]`` Å between the atoms of a stack by nearest image, infinite of each to itself.

    Args:
        frames: the structures.
        members: indices of the stack, ``[M]``; see :func:`are_simple`.
        atoms: indices of its atoms, ``[M, n]``.
    """
    positions = frames.positions[atoms]
    difference = positions[:, :, None] - positions[:, None]
    crystals = frames.pbc[members].all(axis=1)
    if crystals.any():
        cells = frames.cells[members[crystals]][:, None]
        shifts = np.rint(difference[crystals] @ np.linalg.inv(cells))
        difference[crystals] -= shifts @ cells
    distances = np.linalg.norm(difference, axis=3)
    distances[:, np.arange(atoms.shape[1]), np.arange(atoms.shape[1])] = np.inf
    return np.asarray(distances)


def empty_layers(frames: Frames, members: Array, atoms: Array) -> Array:
    """Return the widest layer without atoms along each lattice vector, ``[M, 3]`` Å, of cells that span a volume."""
    inverses = np.linalg.inv(frames.cells[members])
    ordered = np.sort((frames.positions[atoms] @ inverses) % 1.0, axis=1)
    ordered = np.concatenate([ordered, ordered[:, :1] + 1], axis=1)
    return np.asarray(np.diff(ordered, axis=1).max(axis=1) / np.linalg.norm(inverses, axis=1))
