"""Whether the spread of several potentials says where their mean errs: rank correlation, and binned errors.

A spread that ranks errors (Spearman's correlation near 1) finds the structures that need better labels; one that is
also reliable has, in every bin, a root mean square error as large as the spread. Members that were fitted to the same
data share errors, so that most spreads are smaller than the errors are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from distill.analysis.errors import interval, resample
from distill.base.arrays import Array
from distill.base.random import stream
from distill.structures.frames import Frames
from distill.structures.spread import Spread

BINS, FEWEST = 5, 6
"""Bins at most, and structures in each at least."""


@dataclass(frozen=True)
class Bin:
    """Structures of similar spread: root mean squares of spread and error, the interval of the latter, and how many."""

    spread: float
    error: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Reliability:
    """Spread against error of one quantity, for ``B`` structures.

    Attributes:
        spread: of each structure, ``[B]``: eV/atom, or eV/Å as the root mean square over its atoms.
        error: likewise.
        spearman: rank correlation of the two; None where one of them does not vary.
        low: lower end of its bootstrap interval over structures, or None.
        high: upper end.
        ratio: root mean square error divided by the root mean square spread; None where there is no spread.
        bins: by spread, ascending, of equal numbers of structures.
    """

    spread: tuple[float, ...]
    error: tuple[float, ...]
    spearman: float | None
    low: float | None
    high: float | None
    ratio: float | None
    bins: tuple[Bin, ...]


def reliability(
    reference: Frames, predicted: Frames, spread: Spread, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Reliability]:
    """Return how spread and error go together, for ``energy_per_atom`` and ``forces``.

    Structures without the label, or with a prediction that is not finite, are left out, and a quantity without any.

    Args:
        reference: the labels that count as true.
        predicted: the mean of several potentials, for the same structures in the same order.
        spread: how far they lie apart.
        resamples: bootstrap resamples of structures.
        seed: the recipe's seed.
        level: probability content of the intervals.
    """
    found: dict[str, tuple[Array, Array]] = {}
    if reference.energy is not None and predicted.energy is not None:
        found["energy_per_atom"] = spread.energy, np.abs(predicted.energy_per_atom - reference.energy_per_atom)
    if reference.forces is not None and predicted.forces is not None:
        squares = np.square(predicted.forces - reference.forces).sum(axis=1)
        error = np.sqrt(np.bincount(reference.structure_of_atom, squares, len(reference)) / reference.n_atoms)
        found["forces"] = spread.of_structures(reference), error
    compared = {}
    for quantity, (apart, error) in found.items():
        known = np.isfinite(apart) & np.isfinite(error)
        if known.any():
            rng = stream(seed, "bootstrap", "reliability", quantity)
            compared[quantity] = _compared(apart[known], error[known], resamples, rng, level)
    return compared


def spearman(x: Array, y: Array) -> float | None:
    """Return the correlation of the ranks of two variables, ``[B]``, equal values sharing theirs.

    It is None where one of them is constant.
    """
    ranks = np.array([rankdata(x), rankdata(y)])
    away = ranks - ranks.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.square(away).sum(axis=1).prod()))
    return float(away[0] @ away[1] / size) if size > 0 else None


def _compared(apart: Array, error: Array, resamples: int, rng: np.random.Generator, level: float) -> Reliability:
    n = len(apart)
    drawn = rng.integers(0, n, (resamples, n))
    sampled = [spearman(apart[one], error[one]) for one in drawn] if n > 2 else []
    ends = interval(np.array([value for value in sampled if value is not None]), level)
    size = float(np.sqrt(np.square(apart).mean()))
    parts = np.array_split(np.argsort(apart, kind="stable"), max(1, min(BINS, n // FEWEST)))
    return Reliability(
        spread=tuple(map(float, apart)),
        error=tuple(map(float, error)),
        spearman=spearman(apart, error),
        low=ends[0],
        high=ends[1],
        ratio=float(np.sqrt(np.square(error).mean())) / size if size > 0 else None,
        bins=tuple(_bin(apart[part], error[part], resamples, rng, level) for part in parts),
    )


def _bin(apart: Array, error: Array, resamples: int, rng: np.random.Generator, level: float) -> Bin:
    n = len(apart)
    means = resample(n, resamples, rng) @ np.square(error) / n if n > 1 else None
    low, high = interval(None if means is None else np.sqrt(means), level)
    return Bin(float(np.sqrt(np.square(apart).mean())), float(np.sqrt(np.square(error).mean())), low, high, n)
