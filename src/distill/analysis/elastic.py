"""Elastic constants from stresses of strained crystals, by least squares that know no symmetry.

Voigt's order is xx, yy, zz, yz, xz, xy with engineering shear, e4 = 2 e_yz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from distill.base.arrays import Array

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Stiffness:
    """The stiffness of a crystal.

    Attributes:
        matrix: ``[6, 6]`` in the unit of the stresses, symmetric.
        asymmetry: largest difference between the two halves before they were averaged, relative to the largest entry.
    """

    matrix: Array
    asymmetry: float

    @property
    def bulk_modulus(self) -> float:
        """Mean of the bounds of Voigt and Reuss (R. Hill, Proc. Phys. Soc. A 65, 349 (1952))."""
        c, s = self.matrix, np.linalg.inv(self.matrix)
        return float((c[:3, :3].sum() / 9 + 1 / s[:3, :3].sum()) / 2)

    @property
    def shear_modulus(self) -> float:
        """Mean of the bounds of Voigt and Reuss."""
        c, s = self.matrix, np.linalg.inv(self.matrix)
        diagonal, off = np.trace(c[:3, :3]), c[0, 1] + c[0, 2] + c[1, 2]
        voigt = (diagonal - off + 3 * np.trace(c[3:, 3:])) / 15
        diagonal, off = np.trace(s[:3, :3]), s[0, 1] + s[0, 2] + s[1, 2]
        reuss = 15 / (4 * (diagonal - off) + 3 * np.trace(s[3:, 3:]))
        return float((voigt + reuss) / 2)

    @property
    def softest(self) -> float:
        """Smallest eigenvalue; where it is not positive some strain lowers the energy (Born)."""
        return float(np.linalg.eigvalsh(self.matrix)[0])

    def cubic(self) -> dict[str, float]:
        """Return C11, C12 and C44, the means of what is equal in a cubic crystal whose axes are x, y and z."""
        c = self.matrix
        off = (c[0, 1] + c[0, 2] + c[1, 2]) / 3
        return {"C11": float(np.trace(c[:3, :3]) / 3), "C12": float(off), "C44": float(np.trace(c[3:, 3:]) / 3)}

    def diagonal(self) -> dict[str, float]:
        """Return C11 to C66."""
        return {f"C{i + 1}{i + 1}": float(self.matrix[i, i]) for i in range(6)}


def strains(size: float) -> Array:
    """Return the twelve strains ``[12, 6]`` of one component each, to both sides, Voigt."""
    return np.concatenate([size * np.eye(6), -size * np.eye(6)])


def deformation(strain: Array) -> Array:
    """Return the symmetric deformation ``[3, 3]`` of a strain in Voigt's order."""
    matrix = np.eye(3)
    for k, (i, j) in enumerate(VOIGT):
        if i == j:
            matrix[i, j] += strain[k]
        else:
            matrix[i, j] = matrix[j, i] = strain[k] / 2
    return matrix


def fit_stiffness(strained: Array, stresses: Array) -> Stiffness:
    """Return the stiffness that fits stresses σ = σ0 + C e in the sense of least squares.

    Args:
        strained: ``[P, 6]``, symmetric about zero so that second-order terms drop out.
        stresses: ``[P, 6]``, ASE's sign and Voigt's order.
    """
    with_constant = np.concatenate([np.ones((len(strained), 1)), strained], axis=1)
    fitted = np.linalg.lstsq(with_constant, stresses, rcond=None)[0][1:].T
    matrix = (fitted + fitted.T) / 2
    return Stiffness(matrix, float(np.abs(fitted - fitted.T).max() / max(np.abs(fitted).max(), 1e-300)))


def is_cubic(atoms: Atoms, tolerance: float = 1e-3) -> bool:
    """Return whether a crystal is cubic with its axes along x, y and z, so that its stiffness has three constants.

    It is where half a turn about z and a third of a turn about the diagonal bring it onto itself. ``tolerance`` in Å.
    """
    half = np.diag([-1.0, -1.0, 1.0])
    third = np.roll(np.eye(3), 1, axis=1)
    return bool(atoms.pbc.all()) and all(_maps_onto_itself(atoms, turn, tolerance) for turn in (half, third))


def _maps_onto_itself(atoms: Atoms, turn: Array, tolerance: float) -> bool:
    """Return whether a rotation, followed by some translation, brings a crystal onto itself."""
    cell = atoms.cell.array
    if np.abs(_off_lattice(cell @ turn, cell)).max() > tolerance:
        return False
    turned = atoms.positions @ turn
    rarest = min(set(atoms.numbers), key=lambda z: int(np.sum(atoms.numbers == z)))
    candidates = np.flatnonzero(atoms.numbers == rarest)
    return any(_same(atoms, turned + atoms.positions[k] - turned[candidates[0]], cell, tolerance) for k in candidates)


def _same(atoms: Atoms, positions: Array, cell: Array, tolerance: float) -> bool:
    apart = np.linalg.norm(_off_lattice(positions[:, None] - atoms.positions[None], cell), axis=-1)
    apart[atoms.numbers[:, None] != atoms.numbers[None]] = np.inf
    return bool((apart.min(axis=1) < tolerance).all())


def _off_lattice(vectors: Array, cell: Array) -> Array:
    """Return what is left of vectors when the nearest lattice vector is taken off, exactly for what is close to one."""
    scaled: Any = vectors @ np.linalg.inv(cell)
    return np.asarray((scaled - np.round(scaled)) @ cell)
