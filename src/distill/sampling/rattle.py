"""Rattle: a random step away from a parent, in its atoms and, where asked, in its cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from distill.base.arrays import Array
from distill.sampling.constraints import ConstraintMask

MEAN_DISPLACEMENT = float(np.sqrt(8 / np.pi))
"""Mean length of a vector with three normal components of unit variance: a rattle moves atoms by 1.6 sigma."""


def draw_sigma(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    """Return a standard deviation in Å, log-uniform between ``bounds``."""
    low, high = np.log(bounds)
    return float(np.exp(low + (high - low) * rng.random()))


def rattle(positions: Array, sigma: float, mask: ConstraintMask, rng: np.random.Generator) -> Array:
    """Return positions ``[n, 3]`` Å with N(0, sigma) noise per component, as far as they may move."""
    return positions + mask.allowed(np.asarray(rng.normal(0.0, sigma, positions.shape)))


def random_deformation(strain: float, cell: Array, pbc: Array, rng: np.random.Generator) -> Array:
    """Return the deformation ``[3, 3]`` of a random symmetric strain; apply it as ``positions @ deformation``.

    The strain is the symmetric part of a matrix of N(0, strain) numbers (diagonal: standard deviation ``strain``,
    off-diagonal: ``strain`` / √2), a distribution that prefers no direction. It acts only within the space that the
    periodic lattice vectors span: a slab is not stretched along its vacuum, a molecule not at all.
    """
    noise = rng.normal(0.0, strain, (3, 3))
    periodic = periodic_projector(cell, pbc)
    return np.eye(3) + periodic @ (noise + noise.T) @ periodic / 2


def periodic_projector(cell: Array, pbc: Array) -> Array:
    """Return the projector ``[3, 3]`` on the space spanned by the periodic vectors of ``cell`` ``[3, 3]``."""
    if np.all(pbc):
        return np.eye(3)
    vectors: np.ndarray[Any, Any] = cell[pbc]
    return np.linalg.pinv(vectors) @ vectors
