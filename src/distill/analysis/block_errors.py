"""The mean of a series whose samples remember each other, and how far it is known.

Samples of one run are not independent. Blocks that are long beside the memory are, as far as it goes; where the run has
too few of them, its length tells nothing of the error, and there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distill.analysis.means import quantile
from distill.base.arrays import Array
from distill.base.errors import UserError

BLOCK = 10
"""Correlation times of a block at least."""
BLOCKS = (5, 20)
"""Blocks at least, and at most: of a longer run blocks are longer instead, since short ones remember each other."""
WINDOW = 5.0
"""Correlation times that the correlation is summed over: beyond there is noise alone (A. Sokal, Monte Carlo Methods in
Statistical Mechanics (1997), section 3)."""


@dataclass(frozen=True)
class SeriesMean:
    """The mean of a correlated series.

    Attributes:
        value: the mean.
        error: its standard error; NaN where the series cannot tell.
        low: lower end of its 95 % interval, by Student's t over blocks; NaN without one.
        high: upper end.
        correlation: integrated correlation time, in samples: 1/2 for independent ones.
        blocks: how many the error is from; 0 without one.
        longer: how many times as long the series has to be for an error, as far as it can tell; 1 where it has one.
        reason: why there is no error; empty where there is one.
    """

    value: float
    error: float
    low: float
    high: float
    correlation: float
    blocks: int
    longer: float
    reason: str = ""


def series_mean(series: Array) -> SeriesMean:
    """Return the mean of ``[T]`` samples in equal steps of time, with its error from blocks of 10 correlation times.

    Raises:
        UserError: no series, or numbers that are not finite.
    """
    values = np.asarray(series, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UserError(f"a series must be finite numbers [T], and has the shape {values.shape}")
    center, memory = float(values.mean()), correlation_time(values)
    room = len(values) / (BLOCK * max(memory, 0.5))
    if room < BLOCKS[0]:
        reason = (
            f"{len(values)} samples with a correlation time of at least {memory:.3g} have no {BLOCKS[0]} blocks of "
            f"{BLOCK} correlation times"
        )
        none = math.nan
        return SeriesMean(center, none, none, none, memory, 0, BLOCKS[0] / room, reason)
    blocks = min(BLOCKS[1], int(room))
    means = np.array([block.mean() for block in np.array_split(values, blocks)])
    error = float(means.std(ddof=1)) / math.sqrt(blocks)
    half = quantile(blocks - 1) * error
    return SeriesMean(center, error, center - half, center + half, memory, blocks, 1.0)


def correlation_time(series: Array) -> float:
    """Return 1/2 + Σ ρ(t) of a series ``[T]``, in samples: summed up to the first t of five times the sum.

    0 for a series that never changes. Of a series shorter than some tens of correlation times it is too small.
    """
    values = np.asarray(series, dtype=float)
    fluctuation = values - values.mean()
    n = len(values)
    power = np.abs(np.fft.rfft(fluctuation, 2 * n)) ** 2
    covariance = np.fft.irfft(power)[:n] / n
    if not covariance[0] > np.finfo(float).eps ** 2 * float(np.abs(values).max()) ** 2:
        return 0.0
    sums = np.cumsum(covariance / covariance[0]) - 0.5
    beyond = np.flatnonzero(np.arange(n) >= WINDOW * sums)
    return float(max(sums[beyond[0] if len(beyond) else -1], 0.0))
