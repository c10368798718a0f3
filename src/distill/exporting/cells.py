"""Structures turned so that a lies along x and b in the plane of x and y, as OpenMM and i-PI want their cells."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from distill.base.arrays import Array


def turned(cell: Array) -> tuple[Array, Array]:
    """Return a cell with lattice vectors as rows in lower-triangular form, and how vectors are turned into it.

    Args:
        cell: ``[3, 3]`` Å, not degenerate.

    Returns:
        The turned cell L and an orthogonal matrix Q: ``vectors @ Q`` is turned, ``vectors @ Q.T`` turned back. Of a
        left-handed cell Q is also a mirror, under which energies do not change.
    """
    lower = np.linalg.cholesky(cell @ cell.T)
    return lower, np.linalg.solve(cell, lower)


def turned_atoms(atoms: Atoms) -> tuple[Atoms, Array]:
    """Return a structure turned with its cell, and the matrix of :func:`turned`; one without a cell as it is."""
    atoms = atoms.copy()
    if atoms.cell.rank < 3:
        return atoms, np.eye(3)
    lower, turn = turned(atoms.cell.array)
    atoms.positions = atoms.positions @ turn
    atoms.cell = lower
    return atoms, turn


def reduced(cell: Array) -> Array:
    """Return the lower-triangular cell of the same lattice whose vectors lean by half of the others at most."""
    a, b, c = cell.copy()
    c -= b * round(c[1] / b[1])
    c -= a * round(c[0] / a[0])
    b -= a * round(b[0] / a[0])
    b[0], c[0] = np.clip([b[0], c[0]], -a[0] / 2, a[0] / 2)  # rounding
    c[1] = np.clip(c[1], -b[1] / 2, b[1] / 2)
    return np.array([a, b, c])
