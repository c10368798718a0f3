"""Mean squared displacements over spans of time, their fourth moments, and their covariance in Brownian motion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from distill.base.arrays import Array
from distill.base.errors import UserError

LAGS = 50
"""Spans of time at most that displacements are taken over, evenly in logarithms."""
LONGEST = 4
"""Part of the run that the longest span is: from there on fewer than four are independent."""
FEWEST = 20
"""Samples of a run at least."""


@dataclass(frozen=True)
class Displacements:
    """How far atoms moved in ``L`` spans of time, the mean over atoms and over all spans in the run.

    Attributes:
        lags: length of the spans in samples, ``[L]``.
        time_ps: the same, ``[L]`` ps.
        squared: mean squared displacement, ``[L]`` Å².
        non_gaussian: d <r⁴> / ((d + 2) <r²>²) - 1, ``[L]``: 0 for normal displacements (A. Rahman, Phys. Rev. 136,
            A405 (1964)), 3 / (5 Γ t) for jumps at a rate Γ in three dimensions.
        origins: mean over atoms of the squared displacement that begins at each sample: for each span ``[T - lag]`` Å².
        atoms: N.
        samples: T.
        dimensions: d.
    """

    lags: Array
    time_ps: Array
    squared: Array
    non_gaussian: Array
    origins: tuple[Array, ...]
    atoms: int
    samples: int
    dimensions: int


def mean_squared_displacement(positions: Array, step_fs: float) -> Displacements:
    """Return how far atoms moved in up to 50 spans of time, from one sample to a quarter of the run.

    Args:
        positions: unwrapped positions, ``[T, N, d]`` Å, without the motion of the whole.
        step_fs: time between two samples, fs.

    Raises:
        UserError: fewer than 20 samples, or numbers that are not finite.
    """
    paths = np.asarray(positions, dtype=float)
    if paths.ndim != 3 or len(paths) < FEWEST:
        raise UserError(f"displacements need {FEWEST} samples of positions [T, N, d], and have {paths.shape}")
    if not np.isfinite(paths).all() or not step_fs > 0:
        raise UserError("positions must be finite and the time between samples positive")
    samples, atoms, d = paths.shape
    lags = np.unique(np.round(np.geomspace(1, max(1, samples // LONGEST), LAGS)).astype(int))
    second, fourth = np.empty((2, len(lags)))
    origins = []
    for k, lag in enumerate(lags):
        squares = ((paths[lag:] - paths[:-lag]) ** 2).sum(axis=-1)  # (T - lag, N)
        origins.append(squares.mean(axis=1))
        second[k], fourth[k] = squares.mean(), (squares**2).mean()
    moved = np.where(second > 0, second, 1.0)
    alpha = np.where(second > 0, d * fourth / ((d + 2) * moved**2) - 1, 0.0)
    return Displacements(lags, lags * step_fs / 1000, second, alpha, tuple(origins), atoms, samples, d)


def without_drift(positions: Array, masses: Array) -> Array:
    """Return paths ``[T, N, 3]`` without the motion of the centre of mass.

    Args:
        positions: unwrapped positions of all atoms, ``[T, N, 3]`` Å.
        masses: ``[N]``.
    """
    centre = np.einsum("tnk,n->tk", positions, masses / masses.sum())
    return np.asarray(positions - centre[:, None])


def covariance(lags: Array, samples: int, step: float, noise: float) -> Array:
    """Return the covariance of mean squared displacements of one Brownian particle along one line, ``[L, L]`` Å⁴.

    Displacements are normal, so that their squares covary by twice the square of their own covariance (L. Isserlis,
    Biometrika 12, 134 (1918)); it is summed over all pairs of spans in a run of overlapping ones.

    Args:
        lags: length of the spans in samples, ``[L]``.
        samples: of the run, T.
        step: variance of the displacement between two samples, 2 D dt, Å².
        noise: variance of every position around the Brownian path, Å²: vibration of which no memory is left.
    """
    steps, both, noises = _tables(tuple(np.asarray(lags).tolist()), samples)
    return np.asarray(2 * (step**2 * steps + 2 * step * noise * both + noise**2 * noises))


@lru_cache(maxsize=32)
def _tables(lags: tuple[int, ...], samples: int) -> Array:
    """Return the three means of :func:`_sums` for all pairs of spans, ``[3, L, L]``."""
    found = np.empty((3, len(lags), len(lags)))
    for a, m in enumerate(lags):
        for b, n in enumerate(lags[a:], start=a):
            found[:, a, b] = found[:, b, a] = _sums(m, n, samples)
    return found


def _sums(m: int, n: int, samples: int) -> tuple[float, float, float]:
    """Return means over all pairs of a span of ``m`` and one of ``n >= m`` samples that depend on time alone.

    The covariance of two displacements is the step's variance times the samples that they share, plus the noise of the
    ends that they have in common: the means of the first squared, of the product, and of the second squared.
    """
    first, second = samples - m, samples - n
    apart = np.arange(max(-m, 1 - second), min(n, first - 1) + 1)  # by how much the longer begins earlier
    pairs = np.minimum(first, second + apart) - np.maximum(0, apart)
    shared = np.maximum(np.minimum(apart + m, n) - np.maximum(apart, 0), 0).astype(float)
    ends = (apart == 0).astype(float) + (apart + m == n) - (apart + m == 0) - (apart == n)
    sums = [float((pairs * product).sum()) / (first * second) for product in (shared**2, shared * ends, ends**2)]
    return sums[0], sums[1], sums[2]
