"""The energy-volume curve of a crystal: equilibrium volume, energy and bulk modulus.

The third-order Birch-Murnaghan energy is a cubic polynomial in V^(-2/3), so the fit is one linear least-squares
problem: no starting values, no iterations, and a failure is a property of the curve, not of an optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.polynomial import Polynomial

from distill.base.arrays import Array
from distill.base.conventions import EV_PER_A3_IN_GPA
from distill.structures.frames import Frames


@dataclass(frozen=True)
class EnergyVolumeFit:
    """A Birch-Murnaghan fit; all None but ``failure`` where the curve has no minimum inside its range.

    Attributes:
        volume: equilibrium volume V0 in Å³, per whatever the volumes were given for.
        energy: energy at V0, eV per the same.
        bulk_modulus: B0 at V0, GPa.
        bulk_modulus_derivative: B0' = dB/dP at V0, dimensionless.
        residual: root mean square deviation of the points from the fit, eV.
        failure: why there is no fit, or None.
    """

    volume: float | None = None
    energy: float | None = None
    bulk_modulus: float | None = None
    bulk_modulus_derivative: float | None = None
    residual: float | None = None
    failure: str | None = None

    def lattice_constant(self, atoms_per_cell: int) -> float | None:
        """Return the edge in Å of a cubic cell of ``atoms_per_cell`` atoms, for a fit to volumes per atom."""
        return None if self.volume is None else float(np.cbrt(self.volume * atoms_per_cell))

    def energies(self, volumes: Array) -> Array:
        """Return the fitted energy at each volume, same shape, eV; raises ValueError where there is no fit."""
        v0, e0, bulk, derivative = self.volume, self.energy, self.bulk_modulus, self.bulk_modulus_derivative
        if v0 is None or e0 is None or bulk is None or derivative is None:
            raise ValueError(f"no fit: {self.failure}")
        return birch_murnaghan(volumes, v0, e0, bulk, derivative)


def birch_murnaghan(volumes: Array, v0: float, e0: float, bulk_modulus: float, derivative: float) -> Array:
    """Return the third-order Birch-Murnaghan energy (F. Birch, Phys. Rev. 71, 809 (1947)).

    E(V) = E0 + 9 V0 B0 / 16 { [x - 1]³ B0' + [x - 1]² [6 - 4 x] },  x = (V0 / V)^(2/3).

    Volumes are in Å³, energies in eV and ``bulk_modulus`` in GPa.
    """
    x = (v0 / np.asarray(volumes)) ** (2 / 3)
    scale = 9 * v0 * bulk_modulus / EV_PER_A3_IN_GPA / 16
    return e0 + scale * ((x - 1) ** 3 * derivative + (x - 1) ** 2 * (6 - 4 * x))


def fit_energy_volume(volumes: Array, energies: Array) -> EnergyVolumeFit:
    """Fit the Birch-Murnaghan energy to ``P`` points.

    Args:
        volumes: ``[P]`` Å³, in any order, best per atom.
        energies: ``[P]`` eV, per the same.

    Returns:
        The fit, or one whose ``failure`` says why there is none: fewer than four distinct volumes, energies that are
        not finite, no minimum inside the range of volumes.
    """
    v, e = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    if not np.isfinite(e).all():
        return EnergyVolumeFit(failure=f"the energy is not finite at {np.sum(~np.isfinite(e))} of {len(e)} volumes")
    if len(np.unique(v)) < 4:
        return EnergyVolumeFit(failure=f"{len(np.unique(v))} distinct volumes, at least 4 are needed")
    middle = float(np.median(v))
    x = (middle / v) ** (2 / 3)
    # Polynomial.fit maps x to [-1, 1], which keeps the least-squares problem well conditioned.
    energy = Polynomial.fit(x, e, 3)
    at = _minimum(energy, x.min(), x.max())
    if at is None:
        return EnergyVolumeFit(failure=f"no minimum between {v.min():.2f} and {v.max():.2f} Å³")
    v0 = middle * at**-1.5
    second, third = (float(energy.deriv(n)(at)) for n in (2, 3))
    # Chain rule at dE/dx = 0 with dx/dV = -2 x / 3 V:
    # V² E'' = 4/9 x² E_xx and V³ E''' = -(20/9 x² E_xx + 8/27 x³ E_xxx); then B = V E'' and B' = -1 - V E''' / E''.
    v2 = 4 / 9 * at**2 * second
    v3 = -(20 / 9 * at**2 * second + 8 / 27 * at**3 * third)
    return EnergyVolumeFit(
        volume=float(v0),
        energy=float(energy(at)),
        bulk_modulus=float(v2 / v0 * EV_PER_A3_IN_GPA),
        bulk_modulus_derivative=float(-1 - v3 / v2),
        residual=float(np.sqrt(np.mean((energy(x) - e) ** 2))),
    )


@dataclass(frozen=True)
class EnergyVolumeCurve:
    """Energies of one model at given volumes: ``[P]`` eV/atom, and the equation of state that fits them."""

    energies: Array
    fit: EnergyVolumeFit


def scaled(atoms: Atoms, strain: float, points: int) -> Frames:
    """Return ``points`` copies of a structure whose lengths change evenly from ``1 - strain`` to ``1 + strain``."""
    return _rescaled(atoms, np.linspace(1 - strain, 1 + strain, points))


def _rescaled(atoms: Atoms, factors: Array) -> Frames:
    """Return one copy of a structure for each of the factors of its lengths."""
    copies = []
    for factor in factors:
        copy = atoms.copy()
        copy.set_cell(atoms.cell * factor, scale_atoms=True)
        copies.append(copy)
    return Frames.from_atoms(copies)


def energy_volume_curve(frames: Frames, evaluate: Callable[[Frames], Frames]) -> EnergyVolumeCurve:
    """Return the energy-volume curve of what ``evaluate`` predicts for the structures of :func:`scaled`."""
    energies = evaluate(frames).energy_per_atom
    if energies is None:
        raise ValueError("the energies are missing")
    return EnergyVolumeCurve(energies, fit_energy_volume(frames.volumes / frames.n_atoms, energies))


COMPRESSED = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35)
"""Volumes, relative to that of equilibrium, at which a potential is looked at for holes."""

WELL_BELOW = 0.9
"""Relative volume from which on matter is compressed, wherever exactly the minimum of its energy is."""


def compressed_copies(atoms: Atoms, volume: float) -> Frames:
    """Return copies of a structure, scaled evenly from ``volume``, in Å³, to the volumes of :data:`COMPRESSED`."""
    return _rescaled(atoms, np.cbrt(np.array(COMPRESSED) * volume / atoms.get_volume()))


def falls_at(relative_volumes: Array, energies: Array) -> float | None:
    """Return the largest relative volume at which the energy is below that of a larger one, or None.

    The energy of compressed matter rises without end; where a potential's does not, it has a hole.

    Args:
        relative_volumes: ``[P]``, in any order; those above :data:`WELL_BELOW` only compare.
        energies: ``[P]`` eV, per whatever; what is not finite is a hole.
    """
    order = np.argsort(-np.asarray(relative_volumes))
    volumes, values = np.asarray(relative_volumes)[order], np.asarray(energies)[order]
    highest = np.maximum.accumulate(np.where(np.isfinite(values), values, -np.inf))
    falls = ~(values[1:] >= highest[:-1]) & (volumes[1:] <= WELL_BELOW)
    return float(volumes[1:][falls][0]) if falls.any() else None


def _minimum(energy: Polynomial, low: float, high: float) -> float | None:
    """Return where the cubic has its minimum, or None where that is not strictly between ``low`` and ``high``."""
    first, curvature = energy.deriv(1), energy.deriv(2)
    roots = np.atleast_1d(first.roots())
    real = roots[np.isreal(roots)].real
    minima = real[(real > low) & (real < high) & (curvature(real) > 0)]
    return float(minima[0]) if len(minima) else None
