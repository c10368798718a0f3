"""Activation energies from diffusion coefficients, D at another temperature, and the conductivity of ions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from distill.analysis.diffusion import Diffusion
from distill.base.arrays import Array
from distill.base.errors import UserError

SIGMAS = 1.96
"""Standard errors of half of a 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Arrhenius:
    """ln D = ln D₀ - E / (k T), as far as diffusion coefficients at ``n`` temperatures tell.

    Attributes:
        energy: activation energy E, eV.
        prefactor: D₀, Å²/ps.
        covariance: of ln D₀ and E, ``[2, 2]``.
        chi_square: of the line, over its n - 2 degrees of freedom; NaN for two temperatures, always on a line.
        p: probability of at least this chi-square where D follows the line: below 0.05 the points bend or scatter
            more than their errors say. The errors of the fit are then wider by the root of ``chi_square``.
        temperatures: lowest and highest, K.
    """

    energy: Estimate
    prefactor: Estimate
    covariance: Array
    chi_square: float
    p: float
    temperatures: tuple[float, float]

    def at(self, temperature: float) -> Estimate:
        """Return D at a temperature, Å²/ps; outside of those of the fit it is extrapolated, with the line's error."""
        if not temperature > 0:
            raise UserError(f"a temperature must be positive, and is {temperature:g}")
        design = np.array([1.0, -1 / (units.kB * temperature)])
        center = math.log(self.prefactor.value) + design[1] * self.energy.value
        return _exponential(center, math.sqrt(float(design @ self.covariance @ design)))


def arrhenius(temperatures: Sequence[float], values: Sequence[float], errors: Sequence[float]) -> Arrhenius:
    """Return the line through ln D over 1 / T, each D with the weight of its error.

    Errors are widened by the root of chi-square over degrees of freedom where that exceeds 1 (S. Navas et al., Phys.
    Rev. D 110, 030001 (2024), section 5.2).

    Args:
        temperatures: ``[n]`` K, at least two different ones.
        values: D at each, ``[n]`` Å²/ps.
        errors: their standard errors, ``[n]`` Å²/ps.

    Raises:
        UserError: fewer than two temperatures, or one without a positive coefficient and error.
    """
    kelvin, d, error = (np.asarray(x, dtype=float) for x in (temperatures, values, errors))
    _refuse(kelvin, d, error)
    design = np.stack([np.ones(len(kelvin)), -1 / (units.kB * kelvin)], axis=1)
    weights = (d / error) ** 2  # of logarithms
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    fitted = covariance @ design.T @ (weights * np.log(d))
    freedom = len(kelvin) - 2
    square, p = math.nan, math.nan
    if freedom:
        from scipy.stats import chi2

        total = float(weights @ (np.log(d) - design @ fitted) ** 2)
        square, p = total / freedom, float(chi2.sf(total, freedom))
        covariance = covariance * max(1.0, square)
    half = SIGMAS * math.sqrt(covariance[1, 1])
    energy = Estimate(float(fitted[1]), float(fitted[1]) - half, float(fitted[1]) + half)
    prefactor = _exponential(float(fitted[0]), math.sqrt(covariance[0, 0]))
    return Arrhenius(energy, prefactor, covariance, square, p, (float(kelvin.min()), float(kelvin.max())))


def conductivity(
    diffusion: Estimate | Diffusion,
    temperature: float,
    carriers: int,
    volume: float,
    charge: float = 1.0,
    haven_ratio: float = 1.0,
) -> Estimate:
    """Return the conductivity by Nernst and Einstein, n q² D / (k T H), with the interval of D; mS/cm.

    The Haven ratio H is that of the tracer's D over that of charge; 1, the default, is for ions that move
    independently. Where they move together it is smaller, and conductivity larger: say which one a number is for.

    Args:
        diffusion: D of the ions, Å²/ps.
        temperature: K.
        carriers: ions in the volume.
        volume: Å³.
        charge: of an ion, in elementary charges.
        haven_ratio: H.

    Raises:
        UserError: a temperature, volume, number or ratio that is not positive.
    """
    if not min(temperature, carriers, volume, haven_ratio) > 0:
        raise UserError("a conductivity needs positive temperature, carriers, volume and Haven ratio")
    coulomb = units._e * charge
    siemens_per_metre = carriers * coulomb**2 * 1e30 * 1e-8 / (volume * units._k * temperature * haven_ratio)
    factor = 10 * siemens_per_metre  # for 1 Å²/ps, in mS/cm
    return Estimate(factor * diffusion.value, factor * diffusion.low, factor * diffusion.high)


def _refuse(kelvin: Array, d: Array, error: Array) -> None:
    """Raise where there is no line."""
    if not kelvin.shape == d.shape == error.shape or kelvin.ndim != 1 or len(np.unique(kelvin)) < 2:
        raise UserError("an activation energy needs D and its error at two temperatures or more")
    for name, numbers in (("temperature", kelvin), ("D", d), ("error of D", error)):
        wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))
        if len(wrong):
            raise UserError(
                f"number {wrong[0]} (from 0) has a {name} of {numbers[wrong[0]]:g}, and must be positive",
                remedy="Leave out temperatures at which there is no diffusion coefficient",
            )


def _exponential(center: float, deviation: float) -> Estimate:
    """Return exp(center) with the interval of a normal exponent."""
    low, value, high = (math.exp(center + k * SIGMAS * deviation) for k in (-1, 0, 1))
    return Estimate(value, low, high)
