"""Did a molecular-dynamics run survive, and if not, why.

A thermostatted run exchanges energy with its bath, so its total energy is not conserved and proves nothing. What can be
tested is whether it samples the canonical ensemble it was asked for: atoms stay apart, the temperature fluctuates
around its target as statistical mechanics says, and the potential energy has no lasting trend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.base.arrays import Array
from distill.base.conventions import CLOSEST_RATIO

BOLTZMANN = 8.617333262e-5
"""Boltzmann's constant, eV/K (CODATA 2018, exact)."""

EQUILIBRATION = 0.2
"""Fraction of the run that is left out of the averages of the temperature."""

MEAN_BAND = 2.0
"""The mean temperature must lie within this many canonical standard deviations of the target. The mean of even four
independent samples has half the standard deviation of one, so a healthy run stays inside at four of its own."""

PEAK_BAND = 8.0
"""No single temperature after equilibration may exceed the target by this many canonical standard deviations."""

BLOCKS = 10
"""Blocks of the second half that the trend of the energy is fitted to; their scatter gives its standard error."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one run; None where a number cannot be told (too few samples, not finite).

    Attributes:
        survived: whether every test was passed.
        reasons: one sentence for each test that was not.
        duration_fs: simulated time.
        target_temperature: K.
        mean_temperature: after equilibration, K.
        temperature_band: largest accepted deviation of that mean from the target, K.
        min_distance: shortest distance between two atoms at any time, Å.
        min_ratio: the same in units of the sum of covalent radii.
        energy_drift: linear trend of the potential energy over the second half, eV per atom and ps.
        energy_drift_error: its standard error.
    """

    survived: bool
    reasons: tuple[str, ...]
    duration_fs: float
    target_temperature: float
    mean_temperature: float | None
    temperature_band: float
    min_distance: float | None
    min_ratio: float | None
    energy_drift: float | None
    energy_drift_error: float | None


def judge(
    *,
    time_fs: Array,
    temperature: Array,
    potential_energy: Array,
    min_distance: Array,
    min_ratio: Array,
    n_atoms: int,
    degrees_of_freedom: int,
    target_temperature: float,
    planned_fs: float,
    allowed_ratio: float = CLOSEST_RATIO,
) -> Verdict:
    """Judge a run at constant temperature from ``T`` samples of it.

    The run survived if it reached its planned time with finite numbers, no two atoms came closer than
    ``allowed_ratio``, the temperature agrees with the canonical ensemble, whose standard deviation for f degrees of
    freedom is sigma = T sqrt(2 / f) (e.g. Frenkel & Smit, Understanding Molecular Simulation, 2nd ed., eq. 6.1.1, for
    N free atoms: f = 3N), and the potential energy per atom changed over the second half by less than k_B T / 2, or by
    less than three standard errors of that change.

    Args:
        time_fs: ``[T]`` fs, ascending.
        temperature: ``[T]`` K.
        potential_energy: of all atoms, ``[T]`` eV.
        min_distance: shortest distance between two atoms, ``[T]`` Å.
        min_ratio: smallest distance in units of the sum of covalent radii, ``[T]``.
        n_atoms: number of atoms.
        degrees_of_freedom: components that are free to move, f.
        target_temperature: K.
        planned_fs: time that the run was meant to reach; a shorter one did not survive.
        allowed_ratio: smallest ``min_ratio`` that is accepted.
    """
    columns = [np.asarray(c, dtype=float) for c in (time_fs, temperature, potential_energy, min_distance, min_ratio)]
    time, temperature, energy, distance, ratio = columns
    sigma = target_temperature * np.sqrt(2 / degrees_of_freedom)
    settled = temperature[time >= EQUILIBRATION * planned_fs]
    drift, drift_error, change = _trend(time, energy / n_atoms)
    reasons = [
        *_check_finite(time, columns[1:3]),
        *_check_duration(time, planned_fs),
        *_check_distance(time, distance, ratio, allowed_ratio),
        *_check_temperature(settled, target_temperature, sigma),
        *_check_drift(change, drift, drift_error, BOLTZMANN * target_temperature / 2),
    ]
    return Verdict(
        survived=not reasons,
        reasons=tuple(reasons),
        duration_fs=float(time[-1] - time[0]) if len(time) else 0.0,
        target_temperature=float(target_temperature),
        mean_temperature=_number(settled.mean()) if len(settled) else None,
        temperature_band=float(MEAN_BAND * sigma),
        min_distance=_number(distance.min()) if len(distance) else None,
        min_ratio=_number(ratio.min()) if len(ratio) else None,
        energy_drift=_number(drift),
        energy_drift_error=_number(drift_error),
    )


def _check_finite(time: Array, columns: list[Array]) -> list[str]:
    broken = ~np.isfinite(columns).all(axis=0)
    return [f"temperature or energy were not finite at {time[broken][0]:.0f} fs"] if broken.any() else []


def _check_duration(time: Array, planned_fs: float) -> list[str]:
    if not len(time):
        return ["nothing was simulated"]
    reached = time[-1] - time[0]
    # Samples are taken at intervals: the last one may lie an interval before the end.
    interval = np.diff(time).max() if len(time) > 1 else 0.0
    return [] if reached >= planned_fs - 1.5 * interval else [f"it stopped after {reached:.0f} of {planned_fs:.0f} fs"]


def _check_distance(time: Array, distance: Array, ratio: Array, allowed: float) -> list[str]:
    close = ratio < allowed
    if not close.any():
        return []
    first = np.flatnonzero(close)[0]
    return [
        f"two atoms came within {distance[first]:.2f} Å ({ratio[first]:.2f} of the sum of their covalent radii, "
        f"{allowed:.2f} allowed) at {time[first]:.0f} fs"
    ]


def _check_temperature(settled: Array, target: float, sigma: float) -> list[str]:
    settled = settled[np.isfinite(settled)]
    if not len(settled):
        return []
    mean, peak = settled.mean(), settled.max()
    if abs(mean - target) > MEAN_BAND * sigma:
        return [f"the mean temperature was {mean:.0f} K, outside {target:.0f} ± {MEAN_BAND * sigma:.0f} K"]
    if peak > target + PEAK_BAND * sigma:
        return [f"the temperature rose to {peak:.0f} K, the target was {target:.0f} K"]
    return []


def _check_drift(change: float, drift: float, drift_error: float, allowed: float) -> list[str]:
    if not np.isfinite(change) or abs(change) < allowed or abs(drift) < 3 * drift_error:
        return []
    return [
        f"the potential energy drifted by {1000 * change:+.0f} meV/atom over the second half "
        f"({1000 * allowed:.0f} meV/atom allowed)"
    ]


def _trend(time_fs: Array, energy: Array) -> tuple[float, float, float]:
    """Return drift and standard error (eV/atom/ps), and change over the second half (eV/atom); NaN where unknown.

    Neighbouring samples are correlated, so the line is fitted to block means (Flyvbjerg & Petersen, J. Chem. Phys.
    91, 461 (1989)), whose residuals are treated as independent.
    """
    second = slice(len(time_fs) // 2, None)
    time, values = time_fs[second] / 1000, energy[second]
    if len(values) < 2 * BLOCKS or not np.isfinite(values).all():
        return np.nan, np.nan, np.nan
    t, e = (np.array([block.mean() for block in np.array_split(column, BLOCKS)]) for column in (time, values))
    t = t - t.mean()
    spread = np.sum(t**2)
    drift = np.sum(t * e) / spread
    residual = e - e.mean() - drift * t
    error = np.sqrt(np.sum(residual**2) / (BLOCKS - 2) / spread)
    return float(drift), float(error), float(drift * (time[-1] - time[0]))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
