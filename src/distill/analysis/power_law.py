"""A power law through errors over numbers of structures: a straight line in logarithms, and how well it is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.analysis.means import quantile
from distill.base.arrays import Array


@dataclass(frozen=True)
class PowerLaw:
    """error = amplitude · size^-exponent.

    Attributes:
        amplitude: error at size 1, in the unit of the errors.
        exponent: positive where errors fall.
        low: lower end of the exponent's 95 % interval; NaN where no number is left over to tell it.
        high: upper end.
        scatter: standard deviation of the logarithms around the line (n - 2), about the relative scatter; or NaN.
        n: numbers.
        sizes: different sizes.
    """

    amplitude: float
    exponent: float
    low: float
    high: float
    scatter: float
    n: int
    sizes: int

    def at(self, size: float | Array) -> Array:
        """Return the error at one or more sizes."""
        return np.asarray(self.amplitude * np.asarray(size, dtype=float) ** -self.exponent)


def fit_power_law(sizes: Sequence[float] | Array, errors: Sequence[float] | Array) -> PowerLaw | None:
    """Return the law of least squares in logarithms of ``[n]`` positive errors; None for fewer than two sizes.

    The interval of the exponent is Student's t with n - 2 degrees of freedom, which supposes that a power law holds and
    that the errors scatter independently; what does not fit the law widens it.
    """
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(errors, dtype=float))
    n, different = len(x), len(np.unique(x))
    if different < 2:
        return None
    off = x - x.mean()
    slope = float((off * y).sum() / (off**2).sum())
    start = float(y.mean() - slope * x.mean())
    if n < 3 or different < 3:
        return PowerLaw(math.exp(start), -slope, math.nan, math.nan, math.nan, n, different)
    scatter = math.sqrt(float(((y - start - slope * x) ** 2).sum()) / (n - 2))
    half = quantile(n - 2) * scatter / math.sqrt(float((off**2).sum()))
    return PowerLaw(math.exp(start), -slope, -slope - half, -slope + half, scatter, n, different)
