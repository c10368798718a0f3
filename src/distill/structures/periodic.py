"""Cells that are whole, and positions that do not depend on the origin or on how often an atom was unwrapped.

What reads positions in single precision loses digits far from the origin: 1e-3 Å at 10 000 Å. So positions are taken
relative to one atom of the structure, and wrapped around it, in double precision before anything else.
"""

from __future__ import annotations

import numpy as np
from ase.geometry import complete_cell

from distill.base.arrays import Array
from distill.structures.frames import Frames

BEFORE = 0.4142
"""Share of a period before the first atom from which on atoms are wrapped: no site of a crystal is at this boundary, so
that rounding does not decide on which side an atom is."""


def whole_cells(cells: Array, pbc: Array) -> Array:
    """Return cells ``[B, 3, 3]`` whose vectors along directions without a period are unit vectors normal to the others.

    Args:
        cells: lattice vectors as rows, ``[B, 3, 3]`` Å.
        pbc: periodic directions, ``[B, 3]``.
    """
    if pbc.all():
        return cells
    whole = np.where(pbc[:, :, None], cells, 0.0)
    whole[~pbc.any(axis=1)] = np.eye(3)
    for k in np.flatnonzero(pbc.any(axis=1) & ~pbc.all(axis=1)):
        whole[k] = complete_cell(whole[k])
    return whole


def anchored(frames: Frames) -> tuple[Array, Array]:
    """Return positions relative to the first atom of each structure, wrapped around it along periodic directions.

    To the rounding of double precision they are the same wherever the structure is and however far its atoms were
    unwrapped.

    Returns:
        Positions, ``[N, 3]`` Å, and the lattice translations that were taken off each atom, ``[N, 3]`` int64.
    """
    structure = frames.structure_of_atom
    first = np.minimum(frames.offsets[:-1], len(structure) - 1)  # of a structure without atoms nothing is read
    relative = frames.positions - frames.positions[first][structure]
    cells = whole_cells(frames.cells, frames.pbc)
    fractional = _products(relative, np.linalg.inv(cells), structure)
    periods = np.where(frames.pbc[structure], np.floor(fractional + BEFORE), 0.0)
    return relative - _products(periods, cells, structure), periods.astype(np.int64)


def _products(rows: Array, matrices: Array, structure: Array) -> Array:
    """Return each row ``[N, 3]`` times the matrix of its structure, ``[N, 3]``."""
    if len(matrices) == 1:
        return np.asarray(rows @ matrices[0])
    return np.einsum("ni,nij->nj", rows, matrices[structure])
