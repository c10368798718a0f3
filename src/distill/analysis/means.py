"""Means of few independent numbers, one a trained model, and how far they are known: Student's t.

Models of one repeat of the whole chain share teacher and structures, so where there are several repeats, these are
what is independent: the mean is that of the repeats' means, and so is its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from distill.base.arrays import Array

LEVEL = 0.95
"""Confidence level of all intervals of means."""


@dataclass(frozen=True)
class Mean:
    """A mean and how far it is known.

    Attributes:
        value: the mean; NaN without a number.
        low: lower end of its 95 % interval; NaN where a single independent number cannot tell.
        high: upper end.
        deviation: standard deviation of all numbers (n - 1); NaN for fewer than two.
        n: numbers.
        independent: how many of them count as independent: repeats where there are several, else all.
    """

    value: float
    low: float
    high: float
    deviation: float
    n: int
    independent: int


def mean(values: Sequence[float] | Array, repeats: Sequence[int] | Array | None = None) -> Mean:
    """Return the mean of ``[n]`` finite numbers with its 95 % interval by Student's t.

    Args:
        values: the numbers.
        repeats: which repeat of the whole chain each belongs to, ``[n]``; absent: all to one.
    """
    numbers = np.asarray(values, dtype=float)
    of = np.zeros(len(numbers), dtype=int) if repeats is None else np.asarray(repeats)
    groups = np.unique(of)
    independent = np.array([numbers[of == one].mean() for one in groups]) if len(groups) > 1 else numbers
    if not len(numbers):
        return Mean(math.nan, math.nan, math.nan, math.nan, 0, 0)
    center, many = float(independent.mean()), len(independent)
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
    if many < 2:
        return Mean(center, math.nan, math.nan, deviation, len(numbers), many)
    half = quantile(many - 1) * float(independent.std(ddof=1)) / math.sqrt(many)
    return Mean(center, center - half, center + half, deviation, len(numbers), many)


@cache
def quantile(freedom: float) -> float:
    """Return what a standard error is multiplied with for half of an interval: Student's t of so many degrees."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))


def difference(first: Sequence[float] | Array, second: Sequence[float] | Array) -> Mean:
    """Return mean(first) - mean(second) of independent numbers with its 95 % interval after Welch.

    B. L. Welch, Biometrika 34, 28 (1947): unequal variances, degrees of freedom after Satterthwaite. The interval is
    NaN where one of the two is a single number. ``deviation`` is NaN.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    n = len(a) + len(b)
    center = float(a.mean() - b.mean()) if len(a) and len(b) else math.nan
    if min(len(a), len(b)) < 2:
        return Mean(center, math.nan, math.nan, math.nan, n, n)
    squares = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if not squares.sum() > 0:
        return Mean(center, center, center, math.nan, n, n)
    freedom = squares.sum() ** 2 / float((squares**2 / [len(a) - 1, len(b) - 1]).sum())
    half = quantile(freedom) * math.sqrt(squares.sum())
    return Mean(center, center - half, center + half, math.nan, n, n)
