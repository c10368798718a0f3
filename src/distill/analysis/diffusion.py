"""Diffusion coefficients from the mean squared displacement, with the errors that Brownian motion has.

Displacements over overlapping spans of time are not independent, so the line through the mean squared displacement is
one of generalised least squares, with the covariance that Brownian motion with localised noise has exactly. Its first
points weigh most, so it begins where lines that begin later have the same slope: where velocities are forgotten. Where
the motion is not diffusive there is no line, and no coefficient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distill.analysis.block_errors import series_mean
from distill.analysis.displacements import Displacements, covariance, mean_squared_displacement
from distill.base.arrays import Array

SLOPES = (0.9, 1.1)
"""Slopes of the logarithm of the mean squared displacement over that of the time that count as diffusive: 2 is free
flight, 0 a vibration about a site."""
DECADE = 10.0
"""Ratio of the last and the first time that a slope is taken over, where the run is long enough."""
LEAST = 3.0
"""The same at least, at the end of the run: over a shorter range a slope tells nothing."""
GAUSSIAN = 0.2
"""Non-Gaussian parameter below which displacements are as good as normal. Above, it has to be at most half of its
peak: the atoms that moved are then no longer a few."""
LATER = 1.5
"""How much later the next line begins that a line is compared with."""
AGREE = (3.0, 0.02)
"""By how much the coefficients of two lines may differ, one of which begins later: standard errors of the difference,
or this share of the coefficient."""
SIGMAS = 1.96
"""Standard errors of half of a 95 % interval."""


@dataclass(frozen=True)
class Diffusion:
    """A self-diffusion coefficient, or why there is none.

    Attributes:
        value: Å²/ps; 1 Å²/ps is 1e-4 cm²/s. NaN where the motion is not diffusive.
        error: standard error, Å²/ps: that of independent atoms in Brownian motion, or that over blocks of time where
            it is clearly larger, since atoms of a liquid move together.
        low: lower end of the 95 % interval.
        high: upper end.
        offset: mean squared displacement that the line has at time zero, Å².
        from_ps: first time of the line, ps; NaN without one.
        slope: of the logarithm of the mean squared displacement over that of the time: of the line's range, or of the
            longest times.
        non_gaussian: non-Gaussian parameter at the longest time.
        apparent: mean squared displacement over 2 d t at the longest time, Å²/ps: no D, but about the most that it
            can be where the slope is below 1.
        reason: why there is no coefficient; empty where there is one.
    """

    value: float
    error: float
    low: float
    high: float
    offset: float
    from_ps: float
    slope: float
    non_gaussian: float
    apparent: float
    reason: str = ""


def diffusion(positions: Array, step_fs: float, from_ps: float | None = None) -> Diffusion:
    """Return the diffusion coefficient of the atoms of one run, as far as the run can tell.

    The line through the mean squared displacement begins at the first time from which on its logarithmic slope is
    within 0.9 and 1.1, each taken over a decade or up to the end, or at 1.5, 1.5² ... times that: as soon as all lines
    that begin still later, two at least, have the same slope within 3 standard errors or 2 %. It ends at a quarter of
    the run, and has points that are as far apart as its beginning is from zero.

    Args:
        positions: unwrapped positions, ``[T, N, d]`` Å: all three components, or those of a plane or a line.
        step_fs: time between two samples, fs.
        from_ps: where the line begins at the earliest, ps.

    Raises:
        UserError: fewer than 20 samples, or numbers that are not finite.
    """
    moved = mean_squared_displacement(positions, step_fs)
    start, slope = _first_diffusive(moved, from_ps)
    apparent = float(moved.squared[-1] / (2 * moved.dimensions * moved.time_ps[-1]))
    last = float(moved.non_gaussian[-1])
    reason = _reason(moved, start, slope)
    line = None if reason else _settled(moved, start)
    if line is None:
        reason = reason or (
            f"the slope of the mean squared displacement still changes with the time that it is taken from, up to "
            f"{moved.time_ps[-1]:.3g} ps, a quarter of the run: too short"
        )
        none = math.nan
        return Diffusion(none, none, none, none, none, none, slope, last, apparent, reason)
    error = _error(moved, line)
    low, high = line.value - SIGMAS * error, line.value + SIGMAS * error
    from_ps = float(moved.time_ps[line.start])
    return Diffusion(line.value, error, low, high, line.offset, from_ps, slope, last, apparent)


def box_size_correction(temperature: float, viscosity: float, length: float) -> float:
    """Return what is added to the diffusion coefficient in a periodic cube for an infinite one, Å²/ps.

    I.-C. Yeh, G. Hummer, J. Phys. Chem. B 108, 15873 (2004), eq. 12: 2.837297 k T / (6 π η L).

    Args:
        temperature: K.
        viscosity: shear viscosity, mPa s.
        length: edge of the cube, Å.
    """
    joule = 1.380649e-23 * temperature
    return 2.837297 * joule / (6 * math.pi * viscosity * 1e-3 * length * 1e-10) * 1e8


def _first_diffusive(moved: Displacements, from_ps: float | None) -> tuple[int, float]:
    """Return the first lag from which on motion is diffusive, or -1, and the slope there or at the end."""
    time = moved.time_ps
    starts = np.flatnonzero((time >= (from_ps or 0) * (1 - 1e-9)) & (LEAST * time <= time[-1]))
    slopes = np.array([_slope(moved, k) for k in starts])
    outside = np.flatnonzero((slopes < SLOPES[0]) | (slopes > SLOPES[1]))
    if not len(starts):
        return -1, math.nan
    first = outside[-1] + 1 if len(outside) else 0
    if first == len(starts):
        return -1, float(slopes[-1])
    return int(starts[first]), float(slopes[first])


def _slope(moved: Displacements, start: int) -> float:
    """Return the slope in logarithms over the decade that begins at a lag; 0 where nothing moved."""
    time, squared = moved.time_ps, moved.squared
    used = (time >= time[start]) & (time <= time[start] * DECADE * (1 + 1e-9))
    return float(np.polyfit(np.log(time[used]), np.log(squared[used]), 1)[0]) if (squared[used] > 0).all() else 0.0


def _reason(moved: Displacements, start: int, slope: float) -> str:
    """Return why there is no coefficient, or nothing."""
    longest = moved.time_ps[-1]
    if math.isnan(slope):
        return f"the times up to {longest:.3g} ps, a quarter of the run, leave no range for a line"
    if start < 0:
        return (
            f"the mean squared displacement grows as t^{slope:.2f} up to {longest:.3g} ps, a quarter of the run, "
            f"and not as t: not diffusive, or too short"
        )
    alpha = moved.non_gaussian
    if not (alpha[-1] <= GAUSSIAN or alpha[-1] <= alpha.max() / 2):
        return (
            f"the non-Gaussian parameter is {alpha[-1]:.2g} at {longest:.3g} ps and has not decayed: a few atoms make "
            f"up the motion"
        )
    return ""


@dataclass(frozen=True)
class _Line:
    """A line through mean squared displacements from the lag ``start`` on: D, its error, and its value at time zero.

    D is the sum of the displacements at the lags ``chosen`` with ``weights``.
    """

    start: int
    chosen: list[int]
    weights: Array
    value: float
    error: float
    offset: float


def _settled(moved: Displacements, start: int) -> _Line | None:
    """Return the first line that all later ones agree with, two at least; None without one.

    Lines that begin later know less; the variance of their difference is that of their variances (J. A. Hausman,
    Econometrica 46, 1251 (1978)).
    """
    lines = [_line(moved, start)]
    time = moved.time_ps
    while (later := int(np.searchsorted(time, LATER * time[lines[-1].start] * (1 - 1e-9)))) < len(time):
        if LEAST * time[later] > time[-1] * (1 + 1e-9):
            break
        lines.append(_line(moved, later))
    for k, line in enumerate(lines[:-2]):
        times = _error(moved, line) / line.error  # by which the errors of all are too small
        if all(_agree(line, later, times) for later in lines[k + 1 :]):
            return line
    return None


def _agree(line: _Line, later: _Line, times: float) -> bool:
    """Return whether two lines have the same slope, as far as so many times their errors tell."""
    spread = times * math.sqrt(max(later.error**2 - line.error**2, 0.0))
    return abs(later.value - line.value) <= max(AGREE[0] * spread, AGREE[1] * line.value)


def _error(moved: Displacements, line: _Line) -> float:
    """Return the standard error of D: that of independent atoms, or that over blocks of the time at which displacements
    begin, where it is larger by more than two of its own errors.
    """
    begins = len(moved.origins[line.chosen[-1]])
    series = sum(w * moved.origins[k][:begins] for k, w in zip(line.chosen, line.weights, strict=True))
    found = series_mean(np.asarray(series))
    if found.reason or found.error < line.error * (1 + 2 / math.sqrt(2 * (found.blocks - 1))):
        return line.error
    return found.error


def _line(moved: Displacements, start: int) -> _Line:
    """Return the line of generalised least squares through points that are as far apart as the first is from zero.

    The covariance depends on what is sought through its shape alone: it is begun without noise, and repeated.
    """
    chosen = [start]
    for k in range(start + 1, len(moved.lags)):
        if moved.lags[k] - moved.lags[chosen[-1]] >= moved.lags[start]:
            chosen.append(k)
    lags, squared, d = moved.lags[chosen], moved.squared[chosen], moved.dimensions
    step = float(moved.time_ps[0] / moved.lags[0])
    design = np.stack([2 * d * lags * step, np.ones(len(lags))], axis=1)
    value, offset, error = float(squared[-1] / design[-1, 0]), 0.0, math.nan
    for _ in range(3):
        spread = covariance(lags, moved.samples, 2 * value * step, max(offset, 0.0) / (2 * d)) * d / moved.atoms
        inverse = np.linalg.pinv(spread, hermitian=True)
        known = np.linalg.inv(design.T @ inverse @ design)
        weights = known @ design.T @ inverse  # (2, L)
        value, offset = (float(x) for x in weights @ squared)
        error = math.sqrt(float(known[0, 0]))
        if value <= 0:
            break
    return _Line(start, chosen, weights[0], value, error, offset)
