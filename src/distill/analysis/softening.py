"""How steep a student's forces are beside its teacher's: below 1 its energy landscape is softer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError
from distill.base.random import stream

DRAWS = 2000
"""Sets of structures that are drawn for the interval."""
FEWEST = 10
"""Structures at least: an interval drawn from fewer is too narrow."""


@dataclass(frozen=True)
class Softening:
    """The slope of forces over reference forces.

    Attributes:
        slope: 1 where they are equal; below 1 is softening.
        low: lower end of its 95 % interval; NaN for fewer than 10 structures, which cannot tell.
        high: upper end.
        structures: how many have forces.
        reason: why there is no interval; empty where there is one.
    """

    slope: float
    low: float
    high: float
    structures: int
    reason: str = ""


def softening(forces: Array, reference: Array, n_atoms: Array) -> Softening:
    """Return Σ F F_ref / Σ F_ref², the slope of the line through 0, of structures that are independent.

    B. Deng et al., npj Comput. Mater. 11, 9 (2025), who took states of high energy. The interval is that of a bootstrap
    over structures, between percentiles: atoms of one structure are not independent.

    Args:
        forces: of the student, ``[N, 3]`` eV/Å.
        reference: of its teacher, ``[N, 3]`` eV/Å; atoms with NaN do not count.
        n_atoms: atoms of each structure, ``[B]``.

    Raises:
        UserError: forces of different shapes, or none that is not 0.
    """
    a, b, sizes = np.asarray(forces, dtype=float), np.asarray(reference, dtype=float), np.asarray(n_atoms)
    if a.shape != b.shape or a.ndim != 2 or len(a) != sizes.sum():
        raise UserError(f"forces must be [N, 3] of the same atoms, and are {a.shape} and {b.shape} of {sizes.sum()}")
    known = np.isfinite(b)
    of = np.repeat(np.arange(len(sizes)), sizes)
    products = np.bincount(of, np.where(known, a * b, 0).sum(axis=1), minlength=len(sizes))
    squares = np.bincount(of, np.where(known, b * b, 0).sum(axis=1), minlength=len(sizes))
    labelled = np.bincount(of, known.any(axis=1), minlength=len(sizes)) > 0
    products, squares = products[labelled], squares[labelled]
    if not squares.sum() > 0 or not np.isfinite(products).all():
        raise UserError("a slope of forces needs finite forces, and reference forces that are not 0")
    slope, many = float(products.sum() / squares.sum()), len(squares)
    if many < FEWEST:
        return Softening(slope, math.nan, math.nan, many, f"an interval needs {FEWEST} structures, and here are {many}")
    drawn = stream(0, "softening").multinomial(many, np.full(many, 1 / many), DRAWS)
    low, high = np.percentile((drawn @ products) / np.maximum(drawn @ squares, 1e-300), [2.5, 97.5])
    return Softening(slope, float(low), float(high), many)
